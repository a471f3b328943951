"""The checkpoints that come with the project, and what their cards say."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from twostagealign.models.checkpoint import METADATA_KEY, shipped_checkpoints
from twostagealign.models.complexity import count_flops
from twostagealign.options.registry import NETWORKS, build
from twostagealign.runtime.errors import UserError

FRAMES = 5
"""Frames of the bursts that operations are counted for."""
_SIDE = 64
"""Side of the tile that operations are counted for, raw pixels. They grow with its area."""

_LICENCE = re.compile(r"^\| licence \| (.+) \|$", re.MULTILINE)
_PSNR = re.compile(r"^\| PSNR \| ([\d.]+) dB at high noise, ([\d.]+) dB at low noise\b.*\|$", re.MULTILINE)


@dataclass(frozen=True)
class ShippedModel:
    """A checkpoint that comes with the project.

    Attributes:
        name: what it is loaded by.
        network: class of its network.
        parameters: number of weights of the network and the feature net.
        gflop_per_megapixel: operations of the network, 1e9, for a megapixel of the picture, from bursts of five frames,
            without halos of tiles and block matching; None where they cannot be counted.
        psnr_high: PSNR on a frame of REDS clip 020 at high noise, as the card says, dB; None where it does not.
        psnr_low: the same at low noise, dB.
        licence: what the weights may be used for, and why, in one line.
        path: its file.
    """

    name: str
    network: str
    parameters: int
    gflop_per_megapixel: float | None
    psnr_high: float | None
    psnr_low: float | None
    licence: str
    path: Path


def list_models() -> list[ShippedModel]:
    """List the checkpoints that come with the project.

    Returns:
        The checkpoints, by name. No weights are loaded.

    Raises:
        UserError: a checkpoint is damaged.
    """
    return [_describe(name, path) for name, path in shipped_checkpoints().items()]


def licence_of(checkpoint: Path) -> str:
    """Return the licence of a checkpoint's weights, from the card beside it: a .md file of the same name."""
    found = _LICENCE.search(_card_of(checkpoint))
    return found[1] if found else f"not known: {_card_path(checkpoint).name} has no line `| licence | ... |`"


def _describe(name: str, path: Path) -> ShippedModel:
    try:
        with safe_open(path, framework="np") as file:
            shapes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118
            node = json.loads(file.metadata()[METADATA_KEY])["network"]
            network = node["type"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged, or not a checkpoint that train.py or convert_checkpoint.py wrote") from error
    with torch.device("meta"):
        flops = count_flops(build(NETWORKS, node, path), FRAMES, _SIDE)
    psnr = _PSNR.search(_card_of(path))
    return ShippedModel(
        name=name,
        network=network,
        parameters=sum(map(math.prod, shapes)),
        gflop_per_megapixel=None if flops is None else round(flops / 1e9 / ((2 * _SIDE) ** 2 / 1e6), 1),
        psnr_high=float(psnr[1]) if psnr else None,
        psnr_low=float(psnr[2]) if psnr else None,
        licence=licence_of(path),
        path=path,
    )


def _card_path(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".md")


def _card_of(checkpoint: Path) -> str:
    card = _card_path(checkpoint)
    return card.read_text(encoding="utf-8") if card.is_file() else ""
