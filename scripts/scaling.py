"""Predict how training scales over GPUs, from numbers that this machine can measure.

python scripts/scaling.py                     # the tables of docs/SCALING.md, from docs/scaling.json
python scripts/scaling.py --rate 100 --cores 16   # for another GPU and machine
python scripts/scaling.py --measure FILE      # measure first (a few minutes; nothing else should run), write FILE
python scripts/scaling.py --page docs/SCALING.md  # write the tables into the page, between its marks
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import torch
from pydantic import ValidationError
from torch import distributed
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from twostagealign.cli.arguments import Parser, bounded
from twostagealign.cli.run import run
from twostagealign.data import REDS, TrainingSet, write_store
from twostagealign.data.lmdb.store import Compression
from twostagealign.models.complexity import count_parameters
from twostagealign.options import load_options
from twostagealign.options.registry import DATASETS, build
from twostagealign.runtime.bounds import Count, Positive
from twostagealign.runtime.environment import environment
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import SHIPPED, prepare_output, read_regular, write_json
from twostagealign.studies.benchmarks.data import make_clips
from twostagealign.studies.scaling import Cluster, Numbers, Training, report, write_page
from twostagealign.training.build import build_trainer

NUMBERS = SHIPPED / "docs" / "scaling.json"
PAPER = SHIPPED / "options" / "train" / "two_stage.yml"
NARROW = SHIPPED / "options" / "train" / "two_stage_tiny.yml"


class _Operations(TorchDispatchMode):
    """Counts tensor operations that compute something."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        views = func.is_view or func.overloadpacket.__name__.startswith(("empty", "detach"))
        self.count += not views
        return func(*args, **(kwargs or {}))


def measure() -> Numbers:
    """Measure everything on this machine."""
    torch.set_num_threads(1)
    parameters, flops, operations = _measure_step(PAPER)
    return Numbers(
        machine={name: value for name, value in environment().items() if name != "command"},
        parameters=parameters,
        flops=flops,
        operations=operations,
        bursts_per_core=_measure_data(),
        training=_measure_processes(),
    )


def _measure_processes() -> Training:
    narrow = load_options(NARROW)
    parameters = count_parameters(build_trainer(narrow).restorer)
    return Training(
        parameters=parameters,
        batch=narrow.train.batch_size,
        bursts_per_second={count: _measure_training(count) for count in (1, 2)},
        all_reduce=_measure_exchange(parameters),
    )


def _measure_step(options: Path) -> tuple[int, float, int]:
    """Weights, FLOPs per burst and operations of a training step of one burst."""
    trainer = build_trainer(load_options(options, ["train:batch_size=1", "train:workers=0", "device=cpu"]))
    batches = next(trainer.bursts.steps(first=0, number=1))
    with FlopCounterMode(display=False) as flops:
        trainer.step(batches, 0)
    for group in trainer.step.optimizer.param_groups:
        group["foreach"] = True  # as on a GPU, where many weights are updated at once
    with _Operations() as operations:
        trainer.step(batches, 1)
    return count_parameters(trainer.restorer), flops.get_total_flops(), operations.count


def _measure_data() -> dict[str, float]:
    """Bursts of 5 x 384 x 384 per second and core."""
    found = {}
    with tempfile.TemporaryDirectory() as workplace:
        clips = Path(workplace) / "clips"
        clips.mkdir()
        make_clips(clips, count=2, frames=10, height=720, width=1280)
        stores: dict[str, Compression] = {"LMDB, not compressed": "none", "LMDB, webp": "webp"}
        for name, compression in stores.items():
            store = Path(workplace) / f"{compression}.lmdb"
            write_store(clips, store, compression)
            found[name] = _rate(REDS(store, size=384, exclude=[]))
        found["PNG folders"] = _rate(REDS(clips, size=384, exclude=[]))
    stills = build(DATASETS, load_options(PAPER).datasets.train)
    return found | {"stills in motion": _rate(stills)}


def _rate(bursts: TrainingSet, seconds: float = 2.0) -> float:
    """Bursts per second of a core's time, whatever else it does."""
    cv2.setNumThreads(1)  # as in a process that loads data
    bursts[0]
    count, start = 0, time.process_time()
    while (elapsed := time.process_time() - start) < seconds:
        count += 1
        bursts[count % len(bursts)]
    return count / elapsed


def _measure_training(processes: int, steps: int = 20) -> float:
    """Bursts per second of training the narrow network on so many gloo processes, one thread each."""
    with tempfile.TemporaryDirectory() as workplace:
        options = [
            f"path:experiments_root={workplace}", "name=scaling", "device=cpu", "train:workers=0",
            f"train:total_iter={2 * steps}", f"logger:print_every={steps}", "logger:tensorboard=false",
            f"logger:checkpoint_every={2 * steps}", f"val:every={2 * steps}", "val:pictures=0",
            "datasets:val:length=2",
        ]  # fmt: skip
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        command += [str(SHIPPED / "codes" / "train.py"), "-opt", str(NARROW), "--launcher", "pytorch"]
        variables = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([*command, "--force_yml", *options], env=variables, check=True, capture_output=True)
        log = (Path(workplace) / "scaling" / "train.log").read_text(encoding="utf-8")
    # The second half: in the first one, things are done for the first time.
    return float(re.findall(r"bursts_per_second ([\d.e+-]+)", log)[-1])


def _measure_exchange(parameters: int) -> float:
    """Seconds of one all-reduce of so many gradients between two gloo processes."""
    with tempfile.TemporaryDirectory() as workplace:
        torch.multiprocessing.spawn(_exchange, (workplace, parameters), nprocs=2)
        return float((Path(workplace) / "seconds").read_text())


def _exchange(rank: int, workplace: str, parameters: int) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{workplace}/store", rank=rank, world_size=2)
    gradients = torch.ones(parameters)
    distributed.all_reduce(gradients)
    start, runs = time.perf_counter(), 10
    for _ in range(runs):
        distributed.all_reduce(gradients)
    seconds = (time.perf_counter() - start) / runs
    if rank == 0:
        (Path(workplace) / "seconds").write_text(str(seconds))
    distributed.destroy_process_group()


def read_numbers(path: Path) -> Numbers:
    """Read measured numbers; UserError if the file holds none."""
    try:
        return Numbers.model_validate_json(read_regular(path, 2**20, "measured numbers"))
    except ValidationError as error:
        raise UserError(f"{path}: not a file that --measure has written") from error


_HELP = {
    "rate": "TFLOP/s that a GPU sustains in training",
    "launch": "microseconds between two launches of kernels",
    "inside": "GB/s between GPUs of a machine, one way",
    "outside": "GB/s of a GPU between machines, one way",
    "latency": "microseconds of a message",
    "per_machine": "GPUs of a machine",
    "cores": "cores that read data, per GPU",
    "bytes": "bytes sent per weight: 4; 2 with a compression hook",
}


def main() -> None:
    """Read the arguments, measure if that is asked for, print the tables."""
    parser = Parser(description=__doc__.partition("\n")[0] if __doc__ else None)
    add = parser.add_argument
    add("numbers", nargs="?", type=Path, default=NUMBERS, metavar="FILE", help="numbers (default: %(default)s)")
    add("--measure", type=Path, metavar="FILE", help="measure first, and write FILE")
    add("--page", type=Path, metavar="FILE", help="also write the tables into this page, between its marks")
    add("--store", help="where bursts come from (default: the first one that was measured)")
    defaults: Mapping[str, Any] = vars(Cluster())
    for name, help in _HELP.items():
        kind: Callable[[str], Any] = bounded(Count if isinstance(defaults[name], int) else Positive)
        flag = f"--{name.replace('_', '-')}"
        add(flag, type=kind, default=defaults[name], metavar="N", help=f"{help} (default: %(default)s)")
    arguments = vars(parser.parse_args())
    path, target, page, store = (arguments.pop(name) for name in ("numbers", "measure", "page", "store"))
    if target:
        prepare_output(target)
        write_json(target, measure().model_dump(mode="json"))
    numbers = read_numbers(target or path)
    known = list(numbers.bursts_per_core)
    if store is not None and store not in known:
        raise UserError(f"--store: found {store!r}, expected one of: {'; '.join(known)}")
    tables = report(numbers, Cluster(**arguments), store or known[0])
    print("\n\n".join(tables.values()))
    if page:
        write_page(page, tables)


if __name__ == "__main__":
    run(main)
