"""The cost of training: backward products, activations kept, optimiser state, peak memory."""
