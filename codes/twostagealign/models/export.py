"""Networks as files that run without this package: ONNX, and programs of torch.export."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import twostagealign
from twostagealign.archs.frames import check_frames
from twostagealign.models.checkpoint import open_restorer
from twostagealign.models.shipped import licence_of
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.exporting import exporting
from twostagealign.runtime.files import output_folder, sha256, write_atomically
from twostagealign.runtime.silence import no_warnings

Format = Literal["onnx", "torch_export"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch_export": ".pt2"}

OPSET = 20
"""Opset of the ONNX files."""
METADATA_FILE = "metadata.json"
"""Name of the metadata among the extra files of a torch.export program. In ONNX they are metadata properties."""

_NEEDED: dict[Format, tuple[str, ...]] = {"onnx": ("onnx", "onnxscript"), "torch_export": ()}
_EXAMPLE = (2, 2, 3)
"""Batch size, and height and width in units of the network's multiple, of the inputs that the graph is recorded with.
They differ from 1, which torch.export would take for a constant."""


@dataclass(frozen=True)
class _Part:
    """A module to export.

    Attributes:
        module: the module, in evaluation mode.
        inputs: name of each input.
        leading: sizes of an input between the batch size and the height.
        multiple: height and width must be multiples of this.
        output: name of the output.
    """

    module: nn.Module
    inputs: tuple[str, ...]
    leading: tuple[int, ...]
    multiple: int
    output: str


class _Tiles(nn.Module):
    """The network with the two inputs that restoration gives it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, lq: Tensor, noise_map: Tensor) -> Tensor:
        return self.network(lq, noise_map)


def export_checkpoint(
    checkpoint: Path, output: Path, format: Format = "onnx", frames: int | None = None, features: Path | None = None
) -> list[Path]:
    """Write the network of a checkpoint to a file, and the feature net of block matching to another if it is used.

    The files take tiles of any number and size. Their metadata say what goes in and what comes out.

    Args:
        checkpoint: file of the weights.
        output: folder of the files, which are named after the checkpoint.
        format: "onnx" (opset 20) or "torch_export" (.pt2).
        frames: number of frames N of a burst, fixed in the file; None: what the network was made for, or else 5.
        features: file of the feature net, where its weights are a file of their own.

    Returns:
        The files.

    Raises:
        UserError: the checkpoint cannot be read, a package is missing, the network cannot be exported, or a file cannot
            be written.
    """
    missing = [name for name in _NEEDED[format] if find_spec(name) is None]
    if missing:
        raise UserError(f"export to {format}: needs {' and '.join(missing)}; run pip install 'twostagealign[export]'")
    restorer = open_restorer(checkpoint, features)
    network, scale = restorer.network, restorer.matcher.scale
    frames = frames or int(getattr(network, "frames", 5))
    check_frames(network, frames)
    multiple = getattr(network, "multiple", 4)
    parts = {"": _Part(_Tiles(network).eval(), ("lq", "noise_map"), (frames, 4), multiple, "rgb")}
    metadata = {"": _describe_network(network, frames, multiple)}
    if restorer.matcher.search.block_matching:
        parts["_features"] = _Part(restorer.features, ("raw",), (4,), scale, "features")
        metadata["_features"] = _describe_features(restorer.features, scale)
    common = {
        "licence": licence_of(checkpoint),
        "weights": f"{checkpoint.name}, SHA-256 {sha256(checkpoint)}",
        "twostagealign": twostagealign.__version__,
    }
    encode = _to_onnx if format == "onnx" else _to_program
    contents = {suffix: encode(part, metadata[suffix] | common) for suffix, part in parts.items()}
    folder, files = output_folder(output), []
    for suffix, content in contents.items():
        path = folder / f"{checkpoint.stem}{suffix}{SUFFIXES[format]}"
        write_atomically(path, partial(Path.write_bytes, data=content))
        files.append(path)
    return files


def _describe_network(network: nn.Module, frames: int, multiple: int) -> dict[str, str]:
    sides = f"multiples of {multiple}, at least {2 * multiple}"
    return {
        "network": type(network).__name__,
        "frames": str(frames),
        "reference": f"frame {frames // 2}, counted from 0",
        "multiple": str(multiple),
        "lq": f"noisy raw planes, (B, {frames}, 4, H, W), black 0, white 1; H and W {sides}",
        "planes": "R, G of the red rows, G of the blue rows, B; an RGGB mosaic",
        "noise_map": "standard deviation of the noise of every value of lq: sqrt(shot * lq + read^2)",
        "rgb": "linear camera RGB of the reference frame, (B, 3, 2H, 2W), before white balance",
    }


def _describe_features(features: nn.Module, scale: int) -> dict[str, str]:
    sides = f"multiples of {scale}, at least {2 * scale}"
    return {
        "network": type(features).__name__,
        "multiple": str(scale),
        "raw": f"noisy raw planes of frames, (B, 4, H, W), black 0, white 1; H and W {sides}",
        "planes": "R, G of the red rows, G of the blue rows, B; an RGGB mosaic",
        "features": f"features for block matching, (B, C, H / {scale}, W / {scale})",
    }


def _record(part: _Part) -> ExportedProgram:
    """Record the graph of a module, with free batch size, height and width."""
    batch, *sides = _EXAMPLE
    example = torch.rand(batch, *part.leading, *(side * part.multiple for side in sides))
    # At one unit, the coarsest features of a network have one row, which torch.export would tell apart.
    height, width = (part.multiple * Dim(name, min=2) for name in ("h", "w"))
    free = {0: Dim("batch"), 1 + len(part.leading): height, 2 + len(part.leading): width}
    inputs = tuple(example.clone() for _ in part.inputs)
    with exporting(), torch.no_grad(), _as_user_error(part.module):
        return torch.export.export(part.module, inputs, dynamic_shapes=(free,) * len(inputs), strict=False)


def _to_program(part: _Part, metadata: dict[str, str]) -> bytes:
    content = io.BytesIO()
    torch.export.save(_record(part), content, extra_files={METADATA_FILE: json.dumps(metadata)})
    return content.getvalue()


def _to_onnx(part: _Part, metadata: dict[str, str]) -> bytes:
    program = _record(part)
    with _as_user_error(part.module), _only_errors_of("onnxscript"):
        exported: Any = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=part.inputs,
            output_names=[part.output],
            custom_translation_table=_translations(),
            verbose=False,
        )
    model = exported.model_proto
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    return model.SerializeToString()


def _translations() -> dict[Callable[..., object], Callable[..., object]]:
    """ONNX's operator for deformable convolution, for which PyTorch has no translation.

    onnxruntime computes it on the CPU in 10 to 30 % less time than the same by GridSample and MatMul.
    """
    import torchvision.ops  # registers the operator
    from onnxscript import opset20

    def deform_conv2d(
        input: Any, weight: Any, offset: Any, mask: Any, bias: Any, *numbers: int
    ) -> Any:  # the numbers: strides, paddings, dilations, groups of the weights and of the offsets, use of the mask
        stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x, groups, offset_groups, _ = numbers
        return opset20.DeformConv(
            input,
            weight,
            offset,
            bias,
            mask,
            strides=[stride_y, stride_x],
            pads=[pad_y, pad_x, pad_y, pad_x],
            dilations=[dilation_y, dilation_x],
            group=groups,
            offset_group=offset_groups,
        )

    assert torchvision.ops
    return {torch.ops.torchvision.deform_conv2d.default: deform_conv2d}


@contextmanager
def _as_user_error(module: nn.Module) -> Iterator[None]:
    """Say in one line that a network cannot be exported. The exporters raise many kinds of exception."""
    name = type(module.network if isinstance(module, _Tiles) else module).__name__
    try:
        with no_warnings:
            yield
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{name}: cannot be exported: {reason or type(error).__name__}") from error


@contextmanager
def _only_errors_of(name: str) -> Iterator[None]:
    """Silence the warnings of a logger. Those of onnxscript tell what it does not optimise."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
