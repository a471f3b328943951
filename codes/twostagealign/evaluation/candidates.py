"""Checkpoints of an evaluation: loading and labels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from twostagealign.archs import is_released
from twostagealign.evaluation.results import Checkpoint
from twostagealign.matching import Search
from twostagealign.models import TwoStageRestorer
from twostagealign.models.checkpoint import load_weights, open_restorer
from twostagealign.models.complexity import count_flops, count_parameters
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import sha256

_FOLDERS_OF_AN_EXPERIMENT = ("models", "training_states")


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that is evaluated: its restorer, in evaluation mode on the device, and its entry in the results."""

    restorer: TwoStageRestorer
    description: Checkpoint


def load_candidates(
    paths: Sequence[Path],
    features_path: Path | None,
    averaged: bool,
    search: Search,
    device: torch.device,
    dtype: torch.dtype,
    frames: int,
    side: int,
) -> list[Candidate]:
    """Load the checkpoints of an evaluation, in the given order.

    Args:
        paths: files of weights; see `open_restorer`.
        features_path: released file of the feature net, for those among `paths` that are released networks.
        averaged: take the averaged weights of training states.
        search: where patches are searched.
        device: device to compute on.
        dtype: what the networks compute in; see `TwoStageRestorer.compute_in`.
        frames: number of frames of a burst.
        side: side of a tile with its halo, raw pixels.

    Raises:
        UserError: a file cannot be read, does not fit, or is given twice.
    """
    candidates = []
    for path, label in zip(paths, label_checkpoints(paths), strict=True):
        needs_features = len(paths) == 1 or is_released(load_weights(path)[0])
        features = features_path if needs_features else None
        files = [path] if features is None else [path, features]
        restorer = open_restorer(path, features, averaged, search)
        flops = count_flops(restorer.network, frames, side)
        restorer.to(device).compute_in(dtype)
        description = Checkpoint(
            label=label,
            file="+".join(map(str, files)),
            sha256="+".join(map(sha256, files)),
            network=type(restorer.network).__name__,
            parameters=count_parameters(restorer.network),
            feature_parameters=count_parameters(restorer.features),
            block_matching=restorer.matcher.search.block_matching,
            tile_gflop=None if flops is None else flops / 1e9,
        )
        candidates.append(Candidate(restorer, description))
    return candidates


def label_checkpoints(paths: Sequence[Path]) -> list[str]:
    """Unique, filesystem-safe checkpoint labels.

    Args:
        paths: paths of the files.

    Returns:
        For each file its name, after the name of its experiment if it has one, and after more of its path if other
        files have the same name.

    Raises:
        UserError: a file is given twice.

    Example:
        >>> label_checkpoints([Path("experiments/tiny/models/net_8000.safetensors")])
        ['tiny_net_8000']
    """
    files = [path.resolve() for path in paths]
    for path, file in zip(paths, files, strict=True):
        if files.count(file) > 1:
            raise UserError(f"{path}: found the same checkpoint twice, expected different ones")
    depth = 1
    while True:
        labels = [_label(file, depth) for file in files]
        if len(set(labels)) == len(labels):
            return labels
        depth += 1
        if depth > max(len(file.parts) for file in files):  # they differ in their suffixes only
            return [f"{label}_{file.suffix[1:]}" for label, file in zip(labels, files, strict=True)]


def _label(file: Path, depth: int) -> str:
    parts = [part for part in file.with_suffix("").parts[1:] if part not in _FOLDERS_OF_AN_EXPERIMENT]
    of_an_experiment = file.parent.name in _FOLDERS_OF_AN_EXPERIMENT
    return re.sub(r"[^A-Za-z0-9._-]+", "_", "_".join(parts[-depth - of_an_experiment :])).lstrip("._-") or "checkpoint"
