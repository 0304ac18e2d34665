"""Micro-benchmarks in ONNX Runtime, and the profile that is fitted to them."""
