"""The constants of cuDNN's kernels, each set with its source. docs/accuracy.md has the fits."""

from __future__ import annotations

from rnncost.latency.cudnn_kernels import Constants, Persistent

CUDNN_6 = Constants(
    source="cuDNN 5 and 6, fitted to DeepBench on five Maxwell and Pascal cards",
    call_s=3.67e-5,
    startup_s=3.1e-5,
    floor_s=1.18e-5,
    bandwidth_share=0.759,
    depth_s=(1.95e-8, 1.27e-7, 1.04e-7, 4.07e-8),
    tile_share=(0.16, 0.539, 0.633, 0.698),
    # One device left out at a time.
    interval=(0.68, 2.08),
)

CUDNN_8 = Constants(
    source=(
        "cuDNN 7.6, fitted to DeepBench on a V100, with the launches of cuDNN 8 as published "
        "with PyTorch's pull request 62143"
    ),
    call_s=6.94e-5,
    startup_s=1.75e-5,
    # 6.4 to 6.8 µs a step for all small layers there (hidden size to 160, batch to 9).
    floor_s=6.5e-6,
    bandwidth_share=0.694,
    depth_s=(2.88e-8, 2.99e-8, 3.09e-8, 3.86e-8),
    tile_share=(0.395, 1.36, 1.82, 1.12),
    persistent=True,
    # One hidden size left out at a time, and two published tables that were never fitted.
    interval=(0.6, 1.4),
)

PERSISTENT = Persistent(
    # 40 LSTM and RNN shapes; the GPU is not named there.
    source="cuDNN 8's small-H algorithm, fitted to the table with PyTorch's pull request 62143",
    floor_s=3.6e-7,
    rows=9.1,
    register_macs_per_s=8.9e10,
    spilled_macs_per_s=1.47e10,
    # Diamos et al. 2016, Persistent RNNs: 2.8 TFLOP/s, 45 % of the peak of a Titan X, at
    # 1152 units and 4 rows is 3.8 µs a step; other kernels than cuDNN's, so assumed here.
    grid_s=3.8e-6,
    grid_share=0.45,
)
