"""Time of a network by operation of PyTorch, and the rates of its convolutions and matrix products."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from twostagealign.studies.shift_plot import markdown_table

_LEAST_SHARE = 0.01  # of the time, for a row of its own


@dataclass
class OperationTime:
    """All calls of one kind of operation.

    Attributes:
        calls: number of calls.
        seconds: their time.
        flops: multiplications and additions of convolutions and matrix products; 0 for other operations.
    """

    calls: int = 0
    seconds: float = 0.0
    flops: int = 0


class OperationTimes(TorchDispatchMode):
    """Times every operation of PyTorch that runs in its context, on the CPU.

    Attributes:
        times: by kind of operation; that of a convolution tells its kernel, its channels and its stride.
    """

    def __init__(self) -> None:
        from torch.utils.flop_counter import flop_registry  # brings Triton, which other programs do not need

        super().__init__()
        self.times: dict[str, OperationTime] = defaultdict(OperationTime)
        self._flops: dict[Any, Callable[..., int]] = flop_registry

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call and time an operation."""
        start = time.perf_counter()
        output = func(*args, **(kwargs or {}))
        seconds = time.perf_counter() - start
        entry = self.times[_kind(func, args)]
        entry.calls += 1
        entry.seconds += seconds
        count = self._flops.get(func.overloadpacket)
        if count is not None:
            entry.flops += count(*args, **(kwargs or {}), out_val=output)
        return output


def _kind(func: Any, args: tuple[Any, ...]) -> str:
    if func.overloadpacket is not torch.ops.aten.convolution:
        return str(func.overloadpacket.__name__)
    weight, stride, transposed = args[1], args[3], args[6]
    outputs, inputs = weight.shape[:2] if not transposed else weight.shape[1::-1]
    kernel = "x".join(map(str, weight.shape[2:]))
    name = "transposed convolution" if transposed else "convolution"
    return f"{name} {kernel}, {inputs} to {outputs}" + (f", stride {stride[0]}" if max(stride) > 1 else "")


def operation_times(work: Callable[[], object], runs: int = 5) -> dict[str, OperationTime]:
    """Time a piece of work by operation.

    Args:
        work: what to do, on the CPU, once to warm up and then `runs` times.
        runs: number of runs.

    Returns:
        For each kind of operation the means of a run, the longest first.
    """
    work()
    with OperationTimes() as mode:
        for _ in range(runs):
            work()
    means = {
        kind: OperationTime(entry.calls // runs, entry.seconds / runs, entry.flops // runs)
        for kind, entry in mode.times.items()
    }
    return dict(sorted(means.items(), key=lambda item: -item[1].seconds))


def operation_table(times: dict[str, OperationTime]) -> str:
    """Lines of a table: calls, time, share of all time, and rate. Its last row sums up what takes less than 1 %.

    Args:
        times: from `operation_times`.
    """
    whole = sum(entry.seconds for entry in times.values())
    large = {kind: entry for kind, entry in times.items() if entry.seconds >= _LEAST_SHARE * whole}
    small = [entry for kind, entry in times.items() if kind not in large]
    rest = OperationTime(
        sum(entry.calls for entry in small), sum(entry.seconds for entry in small), sum(entry.flops for entry in small)
    )
    rows = [
        [
            kind,
            str(entry.calls),
            f"{1000 * entry.seconds:.1f}",
            f"{100 * entry.seconds / whole:.1f} %",
            f"{entry.flops / entry.seconds / 1e9:.0f}" if entry.flops else "",
        ]
        for kind, entry in [*large.items(), ("others", rest)]
        if entry.calls
    ]
    return markdown_table(["operation", "calls", "ms", "share", "GFLOP/s"], rows)
