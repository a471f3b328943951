"""Weights and training states on disk: atomic writes, loading without executing pickled code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from twostagealign.archs import from_released, infer_network, is_released, widen
from twostagealign.matching import Matcher, Search
from twostagealign.models import TwoStageRestorer
from twostagealign.models.foreign_files import describe_foreign
from twostagealign.options.registry import FEATURES, NETWORKS, build
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import SHIPPED, check_regular, checked_path, locate, write_atomically
from twostagealign.runtime.silence import no_warnings

PRETRAINED = SHIPPED / "experiments" / "pretrained"
"""Where the shipped checkpoints lie: two_stage_NAME.safetensors."""

METADATA_KEY = "twostagealign"
MAX_BYTES = 2**34
"""Largest checkpoint that is read."""


def shipped_checkpoints() -> dict[str, Path]:
    """List the checkpoints that come with the project: the file of each name, such as "tiny", sorted by name."""
    files = {file.stem.removeprefix("two_stage_"): file for file in PRETRAINED.glob("two_stage_*.safetensors")}
    return dict(sorted(files.items()))


def find_checkpoint(text: str) -> Path:
    """The file that a user means.

    Args:
        text: name of a shipped checkpoint, such as "tiny", or a file, looked up as `locate` does.

    Raises:
        UserError: it is neither.
    """
    shipped = shipped_checkpoints()
    path = shipped.get(text) or locate(checked_path(text))
    if not path.exists():
        raise UserError(f"{text}: no such file, and none of the shipped checkpoints: {', '.join(shipped) or '(none)'}")
    return path


def save_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write weights as safetensors, with what is needed to build the networks again.

    Args:
        path: file to write.
        state: state dict of a `TwoStageRestorer`.
        metadata: JSON values; `network` and `features` are the type nodes of the two networks, `refine` says whether
            patches are to be found to the pixel.

    Raises:
        UserError: a weight is infinite or not a number, or the file cannot be written.
    """
    check_weights(state, path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    text = {METADATA_KEY: json.dumps(metadata)}
    write_atomically(path, lambda temporary: _disk_errors(save_file, tensors, temporary, metadata=text))


def save_torch_file(path: Path, content: Any) -> None:
    """Write a file of `torch.save` atomically.

    Raises:
        UserError: it cannot be written.
    """
    write_atomically(path, lambda temporary: _disk_errors(torch.save, content, temporary))


def _disk_errors(save: Callable[..., object], *args: Any, **kwargs: Any) -> None:
    try:
        save(*args, **kwargs)
    except (SafetensorError, RuntimeError) as error:  # how safetensors and PyTorch report a full disk
        reason = str(error).partition("\n")[0]
        raise OSError("disk full, or file too large" if "unexpected pos" in reason else reason) from error


def load_torch_file(path: Path) -> Any:
    """Read a file of `torch.save` on the CPU, plain data and tensors only.

    Raises:
        UserError: it is missing, damaged, or holds anything else.
    """
    expected = "a checkpoint with plain tensors"
    check_regular(path, MAX_BYTES, expected)
    try:
        with no_warnings:  # the error says what matters
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever the damage leads to
        raise UserError(f"{path}: not {expected}: {describe_foreign(path, error)}") from error


def load_weights(path: Path, averaged: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a state dict from .safetensors or .pth.

    Besides plain state dicts, training states of this project and the {'params', 'params_ema'} files of BasicSR are
    understood.

    Args:
        path: the file.
        averaged: of a file that holds averaged weights and raw ones, take the averaged.

    Returns:
        Name -> float32 tensor, and the metadata written with it (empty for foreign files).

    Raises:
        UserError: the file is missing, damaged or holds no weights, or one that is not a finite real number.
    """
    metadata: dict[str, Any] = {}
    if path.suffix == ".safetensors":
        check_regular(path, MAX_BYTES, "a safetensors file")
        try:
            with safe_open(path, framework="pt") as file:
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                text = (file.metadata() or {}).get(METADATA_KEY, "{}")
        except (OSError, SafetensorError, ValueError) as error:
            raise UserError(f"{path}: not a safetensors file: {describe_foreign(path, error)}") from error
        try:
            metadata = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: damaged: its metadata are not JSON") from error
    else:
        state = load_torch_file(path)
        if isinstance(state, dict):
            metadata = state.get("metadata", metadata)
            keys = ("ema", "params_ema", "model", "params")
            state = next((state[key] for key in keys[:: 1 if averaged else -1] if key in state), state)
    are_weights = isinstance(state, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    )
    if not are_weights or not state:
        raise UserError(f"{path}: holds no weights, expected a state dict of tensors")
    if all(name.startswith("module.") for name in state):  # as DistributedDataParallel writes it
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    check_weights(state, path)
    return {name: tensor.float() for name, tensor in state.items()}, metadata if isinstance(metadata, dict) else {}


FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types that weights may have in a file. PyTorch has no arithmetic for the smaller ones, which need a scale."""


def check_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Make sure that all weights are finite real numbers.

    Args:
        state: name -> tensor.
        path: the file that they come from or go to, which an error names.

    Raises:
        UserError: a tensor is sparse, of integers, complex numbers or 8-bit floats, or holds an infinite value or NaN.
    """
    for name, tensor in state.items():
        if tensor.dtype not in FLOATS:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(f"{path}: weight {name}: found {kind}, expected floating-point numbers of 16 to 64 bits")
        # A tensor may repeat a few stored numbers and be of any size.
        if tensor.layout is not torch.strided or tensor.is_meta or tensor.untyped_storage().nbytes() < tensor.nbytes:
            raise UserError(f"{path}: weight {name}: sparse, or without all of its numbers; expected a dense tensor")
        if not tensor.isfinite().all():
            raise UserError(f"{path}: weight {name} holds infinite values or NaN; use another checkpoint")


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Copy a state dict into a module, entry by entry.

    Raises:
        UserError: entries are missing, unexpected or of another shape; the line names them.
    """
    wanted = module.state_dict()
    problems = {
        "missing": [name for name in wanted if name not in state],
        "unexpected": [name for name in state if name not in wanted],
        "of another shape": [
            f"{name} (found {list(state[name].shape)}, expected {list(tensor.shape)})"
            for name, tensor in wanted.items()
            if name in state and state[name].shape != tensor.shape
        ],
    }
    found = [f"{len(names)} {kind}: {_first(names)}" for kind, names in problems.items() if names]
    if found:
        raise UserError(f"{source}: does not fit {type(module).__name__}: " + "; ".join(found))
    module.load_state_dict(state)


def _first(names: list[str], count: int = 5) -> str:
    return ", ".join(names[:count]) + (f", and {len(names) - count} more" if len(names) > count else "")


def load_into(restorer: TwoStageRestorer, path: Path, strict: bool = True, narrower: bool = False) -> None:
    """Load a checkpoint into a restorer: a whole one, or a released file that holds one of its two networks.

    Args:
        restorer: to load into.
        path: the file.
        strict: False takes the entries whose name and shape fit and leaves the rest of the restorer as it is.
        narrower: the checkpoint's networks are narrower, or as wide; see `widen`.

    Raises:
        UserError: the file cannot be read or does not fit.
    """
    state, _ = load_weights(path)
    module: nn.Module = restorer
    if is_released(state):
        name, state = from_released(state)
        module = restorer.features if name in FEATURES else restorer.network
    if narrower:
        try:
            return widen(module, state)
        except ValueError as error:
            raise UserError(f"{path}: does not fit into {type(module).__name__}: {error}") from error
    if not strict:
        own = module.state_dict()
        fitting = {name: entry for name, entry in state.items() if name in own and own[name].shape == entry.shape}
        if not fitting:
            raise UserError(f"{path}: found no entry that fits {type(module).__name__}, expected one at least")
        state = own | fitting
    load_strictly(module, state, path)


def open_restorer(
    path: Path, features_path: Path | None = None, averaged: bool = True, search: Search | None = None
) -> TwoStageRestorer:
    """Build the networks that a checkpoint was made for and load it.

    Args:
        path: a checkpoint of this project, or the released file of the network.
        features_path: the released file of the feature net; only with a released network. A `GCPNet` needs none:
            without it, its patches are not matched.
        averaged: see `load_weights`.
        search: where patches are searched; None: the defaults of `Search`. Patches are not matched for a network that
            was trained without block matching, as the checkpoint's metadata say.

    Returns:
        The restorer in evaluation mode, on the CPU in float32; its weights need no gradients.

    Raises:
        UserError: a file cannot be read, does not fit, lacks its metadata, or one is missing.
    """
    state, metadata = load_weights(path, averaged)
    network: dict[str, Any] = {}
    features: dict[str, Any] = {"type": "LowResolutionFeatures"}
    released, search = is_released(state), search or Search()
    if released:
        name, state = from_released(state)
        if name in FEATURES:
            raise UserError(f"{path}: holds the feature net only, which is to be given as the features checkpoint")
        if features_path is None and name == "TwoStageNet":
            raise UserError(f"{path}: holds the network only; the checkpoint of the feature net must be given too")
        matched = features_path is not None
        try:
            network = infer_network(state)
        except (ValueError, IndexError) as error:
            raise UserError(f"{path}: {error}") from error
    elif features_path is not None:
        raise UserError(f"{features_path}: not needed, {path} holds its own feature net")
    elif {"network", "features"} <= metadata.keys():
        network, features = metadata["network"], metadata["features"]
        matched = metadata.get("block_matching") is not False
    else:
        raise UserError(
            f"{path}: lacks the metadata that say which networks its weights belong to; "
            "give a file that train.py wrote (models/net_*.safetensors or training_states/*.state) or a released one"
        )
    feature_net = build(FEATURES, features, path)
    if not matched:
        search = replace(search, block_matching=False)
    matcher = Matcher(feature_net.scale, search, refine=metadata.get("refine") is True)
    restorer = TwoStageRestorer(build(NETWORKS, network, path), feature_net, matcher)
    load_strictly(restorer.network if released else restorer, state, path)
    if features_path is not None:
        state, _ = load_weights(features_path)
        if not is_released(state) or from_released(state)[0] not in FEATURES:
            raise UserError(f"{features_path}: holds no released feature net, expected the one that belongs to {path}")
        load_strictly(restorer.features, from_released(state)[1], features_path)
    return restorer.eval().requires_grad_(False)
