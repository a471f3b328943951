"""Methods of the ablation: variants of the network, their training, and methods without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from twostagealign.archs import TwoStageNet
from twostagealign.data import Burst
from twostagealign.matching import Search
from twostagealign.merging import align_to_reference, merge_reference
from twostagealign.models import TwoStageRestorer
from twostagealign.models.checkpoint import find_checkpoint, load_weights, open_restorer
from twostagealign.options import load_options
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.quality import develop
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.device import pick_device
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import SHIPPED, locate_output, sha256
from twostagealign.studies.burst_averaging import block_matched_average
from twostagealign.studies.classical import demosaicked, denoised
from twostagealign.training.build import build_trainer

OPTIONS = SHIPPED / "options" / "ablation"
"""An option file for each variant."""

VARIANTS = {
    "single_frame": "single frame",
    "no_alignment": "burst without alignment",
    "stage_one": "stage one only",
    "stage_two": "stage two only",
    "both": "both stages",
    "no_interpolation": "both, no interpolation branch",
}
"""Name of the option file -> name of the variant in tables."""


@dataclass(frozen=True)
class Method:
    """Method that restores a burst.

    Attributes:
        name: name in tables.
        restore: burst -> sRGB of the reference frame, (3, 2H, 2W), on the CPU.
        weights: SHA-256 of the weights; None for a method without a network.
        training: length of the training of a variant; None for other methods.
        one_frame: whether it only uses the reference frame, which is the same at all shifts.
    """

    name: str
    restore: Callable[[Burst], Tensor]
    weights: str | None = None
    training: str | None = None
    one_frame: bool = False


def baselines() -> list[Method]:
    """Return the methods without a network."""
    return [
        Method("demosaicking", demosaicked, one_frame=True),
        Method("demosaicking + non-local means", denoised, one_frame=True),
        Method("burst average", lambda burst: demosaicked(block_matched_average(burst))),
        Method("burst average + non-local means", lambda burst: denoised(block_matched_average(burst))),
    ]


def weights_file(option_file: Path, overrides: Sequence[str] = ()) -> Path:
    """Return the file to which the training of an option file, with changes, writes its newest weights."""
    options = load_options(option_file, overrides)
    return locate_output(Path(options.path.experiments_root)) / options.name / "models" / "net_latest.safetensors"


def open_variant(option_file: Path, name: str, overrides: Sequence[str] = ()) -> Method:
    """Load the newest weights of a variant. It uses block matching only if its training did.

    Args:
        option_file: option file of its training.
        name: its name in tables.
        overrides: changes to the file, as `load_options` takes them.
    """
    options, path = load_options(option_file, overrides), weights_file(option_file, overrides)
    search = Search(block_matching=options.matching.search_window is not None)
    restorer = open_restorer(path, search=search).to(pick_device("auto"))
    _, metadata = load_weights(path)
    training = f"{metadata.get('iteration')} of {options.train.total_iter} iterations"
    one_frame = options.network.type == "SingleFrameNet"
    return Method(name, _by_network(restorer), sha256(path), training, one_frame)


class AverageAlone(nn.Module):
    """A network that sees nothing of a burst but its average.

    Args:
        network: network with `dense_search` and `merge`.
    """

    merge = True

    def __init__(self, network: TwoStageNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, lq: Tensor, noise_map: Tensor) -> Tensor:
        """Restore the average (B, N, 4, H, W) of bursts as a burst of one frame."""
        middle = slice(lq.shape[1] // 2, lq.shape[1] // 2 + 1)
        average, its_noise = merge_reference(*align_to_reference(lq, noise_map))
        return self.network(average[:, middle], its_noise[:, middle])


def average_alone(checkpoint: str = "tiny") -> Method:
    """Return the shipped checkpoint, given the average of the burst as its only frame."""
    path = find_checkpoint(checkpoint)
    restorer = open_restorer(path).to(pick_device("auto"))
    network = AverageAlone(cast(TwoStageNet, restorer.network)).eval()
    alone = TwoStageRestorer(network, restorer.features, restorer.matcher)
    return Method(f"{checkpoint}, average alone", _by_network(alone), sha256(path))


def shipped(checkpoint: str = "tiny") -> list[Method]:
    """Return the shipped checkpoint as it is, and with parts switched off."""
    path = find_checkpoint(checkpoint)
    weights, restorer = sha256(path), open_restorer(path).to(pick_device("auto"))
    matcher = restorer.matcher
    at_rest = restorer.with_matcher(replace(matcher, search=replace(matcher.search, block_matching=False)))
    coarse = restorer.with_matcher(replace(matcher, refine=False))
    alone = _by_network(at_rest, reference_alone=True)
    return [
        Method(f"{checkpoint}, reference frame alone", alone, weights, one_frame=True),
        Method(f"{checkpoint}, stage one off", _by_network(at_rest), weights),
        Method(f"{checkpoint}, stage one to four pixels", _by_network(coarse), weights),
        average_alone(checkpoint),
        Method(checkpoint, _by_network(restorer), weights),
    ]


def _by_network(restorer: TwoStageRestorer, reference_alone: bool = False) -> Callable[[Burst], Tensor]:
    """Make a function that restores a burst, or its reference frame alone, by a network."""

    def restore(burst: Burst) -> Tensor:
        seen = replace(burst, frames=[burst.reference]) if reference_alone else burst
        return develop(restore_frame(restorer, seen, Tiling()).image, burst.camera)

    return restore


def train_variant(option_file: Path, source: Path, overrides: Sequence[str] = ()) -> None:
    """Train to the end. An interrupted training continues; a finished one is left as it is.

    Args:
        option_file: option file of the training.
        source: folder of pictures to train on.
        overrides: further changes to the file, as `load_options` takes them.

    Raises:
        UserError: the training was stopped, or as `build_trainer` and `Trainer.run`.
    """
    options = load_options(option_file, [f"datasets:train:source={json.dumps(str(source))}", *overrides])
    trainer = build_trainer(options, resume=True)
    trainer.run()
    if trainer.progress.iteration < options.train.total_iter:
        raise UserError(
            f"{options.name}: stopped at iteration {trainer.progress.iteration} of {options.train.total_iter}; "
            "run the same command to continue"
        )
