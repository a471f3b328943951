"""Registries of this package, and construction of objects from type nodes.

To use a class of another package, see docs/EXTENDING.md.
"""

import inspect
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import nn

from twostagealign.archs import EDVR, KPN, GCPNet, LowResolutionFeatures, SingleFrameNet, TwoStageNet
from twostagealign.data.clips.clip_sets import ClipSet
from twostagealign.data.clips.reds import REDS
from twostagealign.data.clips.sc_burst import SCBurst
from twostagealign.data.clips.video_clips import VideoClips
from twostagealign.data.clips.vimeo90k import Vimeo90K
from twostagealign.data.evaluation_set import EvaluationSet
from twostagealign.data.stills.stills import StillsInMotion
from twostagealign.data.training_set import TrainingSet
from twostagealign.losses import Charbonnier, Interpolation, LossTerm, MatchSupervision, OneHot, PerFrame
from twostagealign.metrics import (
    Metric,
    Pyiqa,
    chroma_error,
    finite_psnr,
    ssim,
    texture_correlation,
    texture_ratio,
)
from twostagealign.options.plugins import Registry
from twostagealign.options.schema import Node
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.validation import a_value_of, argument_error, one_of, quote

NETWORKS: Registry[type[nn.Module]] = Registry(
    "network",
    {"TwoStageNet": TwoStageNet, "SingleFrameNet": SingleFrameNet, "GCPNet": GCPNet, "EDVR": EDVR, "KPN": KPN},
    needs=("forward", "state_dict"),
)
FEATURES: Registry[type[LowResolutionFeatures]] = Registry(
    "feature net", {"LowResolutionFeatures": LowResolutionFeatures}, needs=("forward", "state_dict")
)
DATASETS: Registry[type[TrainingSet]] = Registry(
    "training set",
    {"REDS": REDS, "Vimeo90K": Vimeo90K, "VideoClips": VideoClips, "StillsInMotion": StillsInMotion},
    needs=("__len__", "__getitem__", "clip", "fingerprint"),
)
EVALUATION_SETS: Registry[type[EvaluationSet]] = Registry(
    "evaluation set", {"ClipSet": ClipSet, "SCBurst": SCBurst}, needs=("open",)
)
LOSSES: Registry[type[LossTerm]] = Registry(
    "loss",
    {term.__name__: term for term in (Charbonnier, Interpolation, PerFrame, MatchSupervision, OneHot)},
    needs=("__call__", "counts", "factor", "name", "reads"),
)
METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "psnr": finite_psnr,
        "ssim": ssim,
        "chroma_error": chroma_error,
        "texture_ratio": texture_ratio,
        "texture_correlation": texture_correlation,
        "lpips": Pyiqa("lpips"),
        "dists": Pyiqa("dists"),
        "niqe": Pyiqa("niqe", needs_target=False),
        "brisque": Pyiqa("brisque", needs_target=False),
    },
)

T = TypeVar("T")
_EMPTY = inspect.Parameter.empty


def build(
    table: Mapping[str, type[T]], node: Node | Mapping[str, Any], where: str | Path | None = None, /, **from_code: Any
) -> T:
    """Make the constructor call that a type node stands for.

    Args:
        table: the classes that may be named.
        node: from the options, or the mapping itself.
        where: the file that errors name, for a mapping that does not come from `load_options`.
        **from_code: further arguments of the constructor; the file may not give them.

    Returns:
        The object.

    Raises:
        UserError: the type is not in the table, an argument is unknown, missing, of the wrong type or given by both
            sides, or the constructor refuses it. The message names file and key.
    """
    if not isinstance(node, Node):
        prefix = f"{where}: " if where else ""
        try:
            node = Node.from_yaml(node, prefix)
        except ValueError as error:
            raise UserError(prefix + str(error)) from None
    arguments = check(table, node, from_code)
    try:
        return table[node.type](**arguments, **from_code)
    except (ValueError, UserError) as error:
        raise UserError(f"{node.prefix.removesuffix('.').removesuffix(': ')}: {error}") from error


def check(table: Mapping[str, type], node: Node, from_code: Collection[str] = ()) -> dict[str, Any]:
    """Compare a type node with the constructor's signature, without calling it.

    Args:
        table: the classes that may be named.
        node: the node.
        from_code: names of the arguments that the caller will give.

    Returns:
        The arguments as the constructor's annotations want them: a list becomes a tuple, a string a Path.

    Raises:
        UserError: as `build`, except for what the constructor itself checks.
    """
    if node.type not in table:
        problem = table.explain(node.type) if isinstance(table, Registry) else _unknown(node.type, table)
        raise UserError(f"{node.prefix}type: {problem}")
    parameters, others = _parameters(table[node.type], node)
    hints = {name: parameter.annotation for name, parameter in parameters.items() if parameter.annotation is not _EMPTY}
    allowed = [name for name in parameters if name not in from_code]
    for name in from_code:
        if name not in parameters and not others:
            raise UserError(f"{node.prefix}type: the constructor of {node.type} takes no argument {name!r}")
    for name in node.arguments:
        if name in from_code:
            raise UserError(f"{node.prefix}{name}: set by the program; remove it from the file")
        if name not in allowed and not others:
            expected = one_of(name, allowed)
            raise UserError(f"{node.prefix}{name}: unknown argument of {node.type}, expected {expected}")
    for name in allowed:
        if parameters[name].default is _EMPTY and name not in node.arguments:
            expected = a_value_of(hints.get(name, Any))
            raise UserError(f"{node.prefix}{name}: missing, expected {expected}; {node.type} needs it")
    return {
        name: _argument(f"{node.prefix}{name}", value, hints.get(name, Any)) for name, value in node.arguments.items()
    }


def _unknown(name: str, table: Mapping[str, type]) -> str:
    return f"found {quote(name)}, expected {one_of(name, table)}"


def _parameters(constructor: type, node: Node) -> tuple[dict[str, inspect.Parameter], bool]:
    """Named parameters of a constructor, and whether it takes others too (`**arguments`)."""
    try:
        parameters = inspect.signature(constructor, eval_str=True).parameters.values()
    except (NameError, TypeError, ValueError, SyntaxError) as error:  # annotations that are not there at run time
        raise UserError(f"{node.prefix}type: the signature of {node.type} cannot be read ({error})") from error
    others = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {parameter.name: parameter for parameter in parameters if parameter.kind not in variable}, others


def _argument(key: str, value: object, annotation: Any) -> Any:
    """Check one value. As JSON, since JSON's strict rules fit YAML: "3" is no number, but a list may be a tuple."""
    adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False))
    try:
        return adapter.validate_json(json.dumps(value, default=repr), strict=True)
    except ValidationError as error:
        raise argument_error(key, value, annotation, error) from None
