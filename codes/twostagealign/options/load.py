"""From an options file to `TrainOptions`, and back."""

import contextlib
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from twostagealign.options import registry
from twostagealign.options.plugins import Registry
from twostagealign.options.schema import Node, Section, TrainOptions
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import SHIPPED, checked_path, locate
from twostagealign.runtime.validation import quote, schema_error
from twostagealign.runtime.yaml_file import dump_yaml, parse_yaml, read_yaml

_NODES: dict[str, Registry[Any]] = {
    "network": registry.NETWORKS,
    "features": registry.FEATURES,
    "datasets.train": registry.DATASETS,
    "datasets.val": registry.DATASETS,
    "train.losses": registry.LOSSES,
}


Options = TypeVar("Options", bound=Section)


def load_options(path: Path, overrides: Sequence[str] = ()) -> TrainOptions:
    """Read and check an experiment's options; see `read_options`."""
    return read_options(path, overrides, TrainOptions, _NODES, names={"val.metrics": registry.METRICS})


def read_options(
    path: Path,
    overrides: Sequence[str],
    model: type[Options],
    nodes: Mapping[str, Registry[Any]],
    from_code: Sequence[str] = (),
    names: Mapping[str, Registry[Any]] | None = None,
) -> Options:
    """Read a YAML file and check it against a schema.

    Args:
        path: a YAML file; a relative path is looked up from the current folder, then from `SHIPPED`. Its
            key `base` may name another, looked up in the same way, that it changes: mappings are merged key by key, but
            one with a `type` replaces what was there.
        overrides: changes to the file, each `key=value` or `key:key:key=value` with a YAML value (`--force_yml`).
        model: the schema.
        nodes: where its type nodes, or lists of them, are, and the classes that each may name. The module of a dotted
            name is imported.
        from_code: names of constructor arguments that the program gives, not the file.
        names: where its lists of names are, and the registry that holds what they name.

    Returns:
        The options. Their type nodes have been compared with the constructors' signatures.

    Raises:
        UserError: the file cannot be read, or the first problem in it: one line with file, key, what was found and what
            is expected.
    """
    data, source = _read_with_base(path)
    for override in overrides:
        _override(data, override)
    if overrides:
        source = " ".join([source, "--force_yml", *map(_shortened, overrides)])
    for key, table in nodes.items():
        _resolve(data, key.split("."), f"{source}: {key}.", table)
    try:
        options = model.model_validate(data)
    except ValidationError as error:
        raise schema_error(source, error, model) from None
    for key, table in nodes.items():
        found = attrgetter(key)(options)
        for node in found if isinstance(found, list) else [found]:
            registry.check(table, node, from_code)
    for key, table in (names or {}).items():
        for name in attrgetter(key)(options):
            table.follow(name, f"{source}: {key}")
            if name not in table:
                raise UserError(f"{source}: {key}: {table.explain(name)}")
    return options


def _resolve(data: dict[str, Any], key: Sequence[str], prefix: str, table: Registry[Any]) -> None:
    """Turn the mapping at a key, or each in a list, into a type node that knows where it comes from.

    The type of a class of another package gets its whole name: options that are written down say where the class is.
    The schema reports what is no type node.
    """
    section: Any = data
    for step in key[:-1]:
        section = section.get(step) if isinstance(section, dict) else None
    if isinstance(section, dict) and key[-1] in section:
        found = section[key[-1]]
        with contextlib.suppress(ValueError):
            if isinstance(found, list):
                section[key[-1]] = [_node(entry, f"{prefix}{i}.", table) for i, entry in enumerate(found)]
            else:
                section[key[-1]] = _node(found, prefix, table)


def _node(value: object, prefix: str, table: Registry[Any]) -> Node:
    node = Node.from_yaml(value, prefix)
    table.follow(node.type, f"{prefix}type")
    return replace(node, type=table.reference(node.type)) if node.type in table else node


def dump_options(options: Section) -> str:
    """Write options as YAML, defaults included; `load_options` reads the same from it."""
    return dump_yaml(options.model_dump(mode="json"))


def _read_with_base(path: Path, above: tuple[Path, ...] = ()) -> tuple[dict[str, Any], str]:
    """Read a file and what it is based on.

    Args:
        path: the file.
        above: the files that led to it.

    Returns:
        The merged mapping, and what errors in it name: the files.
    """
    file = _find(path)
    data = read_yaml(file)
    if not isinstance(data, dict):
        raise UserError(f"{path}: found {quote(data)}, expected a mapping of options")
    if "base" not in data:
        return data, str(path)
    base = data.pop("base")
    if not isinstance(base, str):
        raise UserError(f"{path}: base: found {quote(base)}, expected the path of a YAML file")
    if file in above:
        raise UserError(f"{path}: circular `base`")
    below, source = _read_with_base(checked_path(base), (*above, file))
    return _merge(below, data), f"{path} (base: {source})"


def _merge(below: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in data.items():
        old = below.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and "type" not in value:
            value = _merge(old, value)
        merged[key] = value
    return merged


def _find(path: Path) -> Path:
    """The file itself: relative to the current folder or else to `SHIPPED`."""
    found_at = locate(path)
    if found_at.exists():
        return found_at
    folders = (path.parent, SHIPPED / path.parent)
    there = [str(path.parent / file.name) for folder in folders for file in folder.glob("*.y*ml")]
    close = difflib.get_close_matches(str(path), there, n=1)
    question = f" (did you mean {close[0]!r}?)" if close else ""
    raise UserError(f"{path}: no such file, expected a YAML file{question}")


def _shortened(override: str) -> str:
    return override if len(override) <= 300 else f"{override[:300]}..."


def _override(data: dict[str, Any], override: str) -> None:
    """Set one value in place."""
    source = f"--force_yml {_shortened(override)}"
    key, equals, text = override.partition("=")
    *parents, last = key.split(":")
    if not equals or not last or not all(parents):
        raise UserError(f"{source}: not of the form key:key=value, such as train:total_iter=1000")
    section = data
    for depth, parent in enumerate(parents, start=1):
        if section.get(parent) is None:
            section[parent] = {}
        section = section[parent]
        if not isinstance(section, dict):
            at = ".".join(parents[:depth])
            raise UserError(f"{source}: {at}: found {quote(section)}, expected a mapping of options")
    section[last] = parse_yaml(text, source)
