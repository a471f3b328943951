"""Profile a training step, a restoration, or the network on one tile.

python scripts/profile_step.py training -opt options/train/two_stage_tiny.yml
python scripts/profile_step.py restoration --checkpoint tiny
python scripts/profile_step.py network                # the paper's width, random weights, on the CPU: by operation
python scripts/profile_step.py network --checkpoint tiny
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from twostagealign.cli.arguments import Parser, add_import_argument, bounded
from twostagealign.cli.run import run
from twostagealign.models import TwoStageRestorer
from twostagealign.models.checkpoint import find_checkpoint, open_restorer
from twostagealign.options import load_options
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.bounds import Count, Frames, Side
from twostagealign.runtime.device import pick_device
from twostagealign.studies.benchmarks.network import SIDE
from twostagealign.studies.benchmarks.operations import operation_table, operation_times
from twostagealign.studies.benchmarks.subjects import burst, wide_network
from twostagealign.training.build import build_trainer

TINY = Path(__file__).parents[1] / "options" / "train" / "two_stage_tiny.yml"
STAGE = "stage: "


@contextmanager
def stages(restorer: TwoStageRestorer) -> Iterator[None]:
    """Mark the forward passes of the feature net and of the network's parts, and the backward pass, in the profile."""
    parts: dict[str, nn.Module] = {"feature net": restorer.features, "network": restorer.network}
    parts |= {f"network.{name}": part for name, part in restorer.network.named_children()}
    open_marks: list[record_function] = []

    def enter(name: str) -> Callable[..., None]:
        def mark(*_: object) -> None:
            open_marks.append(record_function(STAGE + name))
            open_marks[-1].__enter__()

        return mark

    def leave(*_: object) -> None:
        open_marks.pop().__exit__(None, None, None)

    hooks = []
    for name, part in parts.items():
        hooks += [part.register_forward_pre_hook(enter(name)), part.register_forward_hook(leave)]
    backward = torch.Tensor.backward

    def marked(loss: torch.Tensor) -> None:
        with record_function(STAGE + "backward"):
            backward(loss)

    with patch.object(torch.Tensor, "backward", marked):
        yield
    for hook in hooks:
        hook.remove()


def training_step(arguments: argparse.Namespace) -> tuple[TwoStageRestorer, Callable[[], object]]:
    """Return a restorer and a training step on batches that are already loaded."""
    trainer = build_trainer(load_options(arguments.opt))
    batches = next(trainer.bursts.steps(first=0, number=1))
    return trainer.restorer, lambda: trainer.step(batches, 0)


def restoration(arguments: argparse.Namespace) -> tuple[TwoStageRestorer, Callable[[], object]]:
    """Return a restorer and the restoration of a burst of random numbers."""
    device = pick_device("auto")
    restorer = open_restorer(arguments.checkpoint or find_checkpoint("tiny")).to(device)
    frames = burst(arguments.frames, *arguments.size)
    return restorer, lambda: restore_frame(restorer, frames, Tiling())


def profile_network(arguments: argparse.Namespace) -> str:
    """Table of the operations of the network on one patch of the REDS protocol with its halo."""
    checkpoint = arguments.checkpoint
    network = open_restorer(checkpoint).network if checkpoint else wide_network()
    planes = burst(arguments.frames, SIDE, SIDE).stack()
    lq, noise_map = (part[None] for part in planes)
    with torch.no_grad():  # in inference mode, a convolution is not broken down to what FLOPs are known of
        return operation_table(operation_times(lambda: network(lq, noise_map)))


def main() -> None:
    """Warm up, profile one step, print two tables: nested stages, and operations; of a network the second."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("what", choices=("training", "restoration", "network"))
    add("-opt", type=Path, default=TINY, metavar="FILE", help="training: option file (default: %(default)s)")
    weights = "restoration, network: weights (default of a restoration: tiny)"
    add("--checkpoint", type=find_checkpoint, metavar="NAME", help=weights)
    add(
        "--size",
        type=bounded(Side),
        nargs=2,
        default=(128, 192),
        metavar="N",
        help="restoration: height width, raw",
    )
    add(
        "--frames",
        type=bounded(Frames),
        default=5,
        help="restoration, network: frames of the burst (default: %(default)s)",
    )
    add("--rows", type=bounded(Count), default=20, help="rows of the table of operations (default: %(default)s)")
    add("--trace", type=Path, metavar="FILE", help="write the profile to FILE, for chrome://tracing")
    add_import_argument(parser)
    arguments = parser.parse_args()
    if arguments.what == "network":
        print(profile_network(arguments))
        return
    restorer, step = {"training": training_step, "restoration": restoration}[arguments.what](arguments)
    step()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
    with stages(restorer), profile(activities=activities) as profiler, record_function(STAGE + arguments.what):
        step()
    if arguments.trace:
        profiler.export_chrome_trace(str(arguments.trace))
    print(profile_table(profiler, arguments.rows))


def profile_table(profiler: profile, rows: int) -> str:
    """Return both tables, in milliseconds and shares of the whole."""
    spans: Counter[str] = Counter()
    for event in profiler.key_averages():
        if event.key.startswith(STAGE):
            spans[event.key.removeprefix(STAGE)] += event.cpu_time_total / 1000
    whole = max(spans.values())
    lines = [f"{name:32}{time:10.1f} ms{100 * time / whole:7.1f} %" for name, time in spans.most_common()]
    order = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    return "\n".join([*lines, "", profiler.key_averages().table(sort_by=order, row_limit=rows)])


if __name__ == "__main__":
    run(main)
