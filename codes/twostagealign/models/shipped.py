"""The checkpoints that come with the project, and what their cards say."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from twostagealign.models.checkpoint import METADATA_KEY, shipped_checkpoints
from twostagealign.runtime.errors import UserError

_LICENCE = re.compile(r"^\| licence \| (.+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class ShippedModel:
    """A checkpoint that comes with the project.

    Attributes:
        name: what it is loaded by.
        network: class of its network.
        parameters: number of weights of the network and the feature net.
        licence: what the weights may be used for, and why, in one line.
        path: its file.
    """

    name: str
    network: str
    parameters: int
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


def _describe(name: str, path: Path) -> ShippedModel:
    try:
        with safe_open(path, framework="np") as file:
            shapes = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118
            network = json.loads(file.metadata()[METADATA_KEY])["network"]["type"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged, or not a checkpoint that train.py or convert_checkpoint.py wrote") from error
    return ShippedModel(name, network, sum(map(math.prod, shapes)), _licence(path.with_suffix(".md")), path)


def _licence(card: Path) -> str:
    """The line of a card that says what the weights may be used for."""
    found = _LICENCE.search(card.read_text(encoding="utf-8")) if card.is_file() else None
    return found[1] if found else f"not known: {card.name} has no line `| licence | ... |`"
