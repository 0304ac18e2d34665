"""The constants of the execution models, a block for each runtime that a profile can name."""

from __future__ import annotations

from typing import Literal, Union

from rnncost.profiles.quantities import Duration, Quantity, Strict


class Cudnn(Strict, frozen=True, kw_only=True):
    """Constants of cuDNN's recurrent kernels; see ``rnncost.latency.cudnn``.

    ``kernels`` is the library whose constants stand in for what is absent ("cudnn-8" unless
    given), ``framework`` the one that picks the algorithm ("pytorch" unless given; ONNX
    Runtime always takes the standard one). Times of a call of a layer, of the extra of its
    first steps, of launching a step; the shares of bandwidth and peak that kernels reach;
    and the least time of a step of the persistent algorithm for small hidden sizes.
    """

    kernels: Union[Literal["cudnn-6", "cudnn-8"], None] = None
    framework: Union[Literal["pytorch", "onnxruntime"], None] = None
    call_s: Union[Duration, None] = None
    startup_s: Union[Duration, None] = None
    floor_s: Union[Duration, None] = None
    bandwidth_share: Union[Quantity, None] = None
    peak_share: Union[Quantity, None] = None
    persistent_floor_s: Union[Duration, None] = None


class PytorchCpu(Strict, frozen=True, kw_only=True):
    """Constants of PyTorch's recurrent layers on a CPU; see ``rnncost.latency.pytorch_cpu``.

    Times of a call (``run_s``), of an operator that is not recurrent (``op_s``), of a cell
    module (``cell_s``), of a layer in one direction, and of a step without its product; by
    cell, ``unfused_lstm`` being an LSTM that oneDNN does not run. ``unit_s`` are the
    elementwise seconds of a step for each unit and row. Efficiencies are shares of the peak.
    """

    run_s: Union[Duration, None] = None
    op_s: Union[Duration, None] = None
    cell_s: Union[Duration, None] = None
    lstm_layer_s: Union[Duration, None] = None
    unfused_lstm_layer_s: Union[Duration, None] = None
    gru_layer_s: Union[Duration, None] = None
    rnn_layer_s: Union[Duration, None] = None
    lstm_step_s: Union[Duration, None] = None
    unfused_lstm_step_s: Union[Duration, None] = None
    gru_step_s: Union[Duration, None] = None
    rnn_step_s: Union[Duration, None] = None
    unfused_lstm_unit_s: Union[Duration, None] = None
    gru_unit_s: Union[Duration, None] = None
    rnn_unit_s: Union[Duration, None] = None
    reorder_bytes_per_s: Union[Quantity, None] = None
    packed_efficiency: Union[Quantity, None] = None
    few_rows_efficiency: Union[Quantity, None] = None
    many_rows_efficiency: Union[Quantity, None] = None


McuCore = Literal[
    "cortex-m0+",
    "cortex-m4",
    "cortex-m7",
    "cortex-m33",
    "cortex-m55",
    "xtensa-lx6",
    "xtensa-lx7",
    "riscv32",
]


class Cycles(Strict, frozen=True, kw_only=True):
    """Clock cycles by precision."""

    fp32: Union[Quantity, None] = None
    int8: Union[Quantity, None] = None


class Mcu(Strict, frozen=True, kw_only=True):
    """Cycles of a microcontroller's kernels; see ``rnncost.latency.mcu``.

    ``core`` names the family that stands in for what is absent. Cycles of a MAC, of an
    activation that is an operator or a loop of its own, of one inside an LSTM kernel, of any
    other elementwise operation; and of a run, an operator, a step of an LSTM kernel.
    """

    core: Union[McuCore, None] = None
    mac_cycles: Cycles = Cycles()
    activation_cycles: Cycles = Cycles()
    lstm_activation_cycles: Cycles = Cycles()
    elementwise_cycles: Cycles = Cycles()
    run_cycles: Union[Quantity, None] = None
    op_cycles: Union[Quantity, None] = None
    step_cycles: Union[Quantity, None] = None
