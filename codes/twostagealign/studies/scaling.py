"""Prediction of how training scales over GPUs, from measured numbers and assumptions: docs/SCALING.md."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import read_regular, write_atomically

BURSTS = 1_200_000
"""Bursts of the paper's training: 600 thousand iterations of two."""
GPUS = (1, 8, 64)
BATCHES = (1, 8, 32)
"""Bursts per step and GPU."""


class Training(BaseModel):
    """Training of a narrow network on one and two gloo processes, one thread each.

    Attributes:
        parameters: weights.
        batch: bursts per step and process.
        bursts_per_second: by number of processes.
        all_reduce: seconds of one all-reduce of the gradients between two processes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    parameters: int
    batch: int
    bursts_per_second: dict[int, float]
    all_reduce: float


class Numbers(BaseModel):
    """What was measured.

    Attributes:
        machine: what it was measured on.
        parameters: weights that are trained.
        flops: floating-point operations of the convolutions and matrix products of a step of one burst, both passes.
        operations: tensor operations of a step, most of which launch one kernel on a GPU.
        bursts_per_core: bursts that one core reads or makes per second of its time, by kind of store.
        training: how two processes train together; None: not measured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    machine: dict[str, str | int]
    parameters: int = Field(gt=0)
    flops: float = Field(gt=0)
    operations: int = Field(gt=0)
    bursts_per_core: dict[str, float]
    training: Training | None = None


@dataclass(frozen=True)
class Cluster:
    """Assumptions on the machines; nothing of this was measured.

    Attributes:
        rate: what a GPU's matrix products sustain in training, TFLOP/s.
        launch: time between two launches of kernels, microseconds.
        inside: bandwidth of a GPU to others of its machine, one way, GB/s.
        outside: bandwidth of a GPU to other machines, one way, GB/s.
        latency: of one message, microseconds.
        per_machine: GPUs of a machine.
        cores: cores that read data, per GPU.
        bytes: bytes of a gradient that are sent per weight: 4, or 2 with a compression hook.
    """

    rate: float = 350.0
    launch: float = 10.0
    inside: float = 300.0
    outside: float = 25.0
    latency: float = 20.0
    per_machine: int = 8
    cores: int = 12
    bytes: int = 4


@dataclass(frozen=True)
class Step:
    """Predicted times of one training step, seconds.

    Attributes:
        work: of both passes.
        exchange: of the gradients, if nothing else ran meanwhile.
        data: until the data of the step are there.
        whole: of the step.
    """

    work: float
    exchange: float
    data: float
    whole: float


def predict(numbers: Numbers, cluster: Cluster, gpus: int, batch: int, store: str, accumulate: int = 1) -> Step:
    """Predict a training step.

    - work = accumulate * max(batch * flops / rate, operations * launch): a GPU computes, or waits for launches.
    - exchange = 2 (n - 1) / n * gradient / bandwidth + 2 (n - 1) * latency: ring all-reduce of n GPUs. Over several
      machines, the slower link counts.
    - Of the exchange, as much is hidden as the backward pass lasts, two thirds of the work of the last batch.
    - data = accumulate * batch / (cores * bursts per core); it runs beside the rest, so that the longer one counts.

    Args:
        numbers: measured numbers.
        cluster: assumptions.
        gpus: number of GPUs, n.
        batch: bursts per batch and GPU.
        store: kind of store that the bursts come from.
        accumulate: batches per step and GPU.
    """
    compute = batch * numbers.flops / (cluster.rate * 1e12)
    once = max(compute, numbers.operations * cluster.launch * 1e-6)
    bandwidth = 1e9 * (cluster.inside if gpus <= cluster.per_machine else min(cluster.inside, cluster.outside))
    gradient = cluster.bytes * numbers.parameters
    exchange = 2 * (gpus - 1) / gpus * gradient / bandwidth + 2 * (gpus - 1) * cluster.latency * 1e-6
    exposed = max(0.0, exchange - 2 / 3 * once)
    data = accumulate * batch / (cluster.cores * numbers.bursts_per_core[store])
    work = accumulate * once
    return Step(work, exchange, data, max(work + exposed, data))


def scaling_table(numbers: Numbers, cluster: Cluster, store: str) -> list[str]:
    """Hours for the paper's number of bursts, by GPUs and batch, as lines of Markdown."""
    lines = [
        "| GPUs | bursts per GPU | global batch | steps | step | bursts/s | hours | efficiency | bound by |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for batch in BATCHES:
        alone = predict(numbers, cluster, 1, batch, store).whole
        for gpus in GPUS:
            step = predict(numbers, cluster, gpus, batch, store)
            steps = math.ceil(BURSTS / (gpus * batch))
            hours = steps * step.whole / 3600
            speed = gpus * batch / step.whole
            lines.append(
                f"| {gpus} | {batch} | {gpus * batch} | {steps} | {1000 * step.whole:.1f} ms | {speed:.0f} "
                f"| {hours:.2f} | {100 * alone / step.whole:.0f} % | {_bound(numbers, cluster, step, batch)} |"
            )
    return lines


def _bound(numbers: Numbers, cluster: Cluster, step: Step, batch: int) -> str:
    if step.whole == step.data:
        return "data"
    if step.whole > step.work:
        return "exchange"
    return "launches" if batch * numbers.flops / (cluster.rate * 1e12) < step.work else "compute"


def data_table(numbers: Numbers, cluster: Cluster) -> list[str]:
    """Cores per GPU that data need, where the GPU computes without a pause, as lines of Markdown."""
    needed = cluster.rate * 1e12 / numbers.flops
    lines = ["| store | bursts/s per core | cores per GPU |", "|---|---|---|"]
    for store, speed in numbers.bursts_per_core.items():
        lines.append(f"| {store} | {speed:.1f} | {needed / speed:.1f} |")
    return lines


def check_table(numbers: Numbers) -> list[str]:
    """The formula for two processes against what two gloo processes measured, as lines of Markdown."""
    training = numbers.training
    if training is None:
        return ["Not measured yet."]
    alone, together = training.bursts_per_second[1], training.bursts_per_second[2]
    step = training.batch / alone
    slowest, fastest = (2 * training.batch / (step + exposed) for exposed in (training.all_reduce, 0.0))
    return [
        "| processes | bursts/s | predicted |",
        "|---|---|---|",
        f"| 1 | {alone:.2f} | |",
        f"| 2 | {together:.2f} | {slowest:.2f} to {fastest:.2f} |",
    ]


def report(numbers: Numbers, cluster: Cluster, store: str) -> dict[str, str]:
    """All tables, by name."""
    gradient = cluster.bytes * numbers.parameters
    needed = cluster.rate * 1e12 / numbers.flops
    facts = [
        f"- weights: {numbers.parameters}; gradients per step: {gradient / 1e6:.1f} MB",
        f"- a burst: {numbers.flops / 1e9:.0f} GFLOP; a step: {numbers.operations} operations",
        f"- a GPU that sustains {cluster.rate:g} TFLOP/s needs {needed:.0f} bursts/s",
    ]
    tables = {
        "facts": facts,
        "data": data_table(numbers, cluster),
        "scaling": scaling_table(numbers, cluster, store),
        "check": check_table(numbers),
    }
    return {name: "\n".join(lines) for name, lines in tables.items()}


def write_page(page: Path, tables: Mapping[str, str]) -> None:
    """Replace what is between `<!-- NAME -->` and `<!-- end -->` in a page by the table NAME; UserError if it lacks."""
    text = read_regular(page, 2**20, "a page").decode()
    for name, table in tables.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not end:
            raise UserError(f"{page}: no '<!-- {name} -->' followed by '<!-- end -->'")
        text = f"{before}{mark}\n{table}\n\n{end}{after}"
    write_atomically(page, lambda temporary: temporary.write_text(text, encoding="utf-8"))
