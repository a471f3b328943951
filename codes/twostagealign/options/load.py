"""From an options file to `TrainOptions`, and back."""

import difflib
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from twostagealign.options import registry
from twostagealign.options.messages import found, schema_error, user_error
from twostagealign.options.schema import Section, TrainOptions
from twostagealign.options.yaml_file import dump_yaml, parse_yaml, read_yaml
from twostagealign.runtime.files import REPOSITORY, locate

_NODES = {
    "network": registry.NETWORKS,
    "features": registry.FEATURES,
    "datasets.train": registry.DATASETS,
    "datasets.val": registry.DATASETS,
}


Options = TypeVar("Options", bound=Section)


def load_options(path: Path, overrides: Sequence[str] = ()) -> TrainOptions:
    """Read and check an experiment's options; see `read_options`."""
    return read_options(path, overrides, TrainOptions, _NODES)


def read_options(
    path: Path,
    overrides: Sequence[str],
    model: type[Options],
    nodes: Mapping[str, Mapping[str, type]],
    from_code: Sequence[str] = (),
) -> Options:
    """Read a YAML file and check it against a schema.

    Args:
        path: a YAML file; a relative path is looked up from the current folder, then from the repository's root. Its
            key `base` may name another, looked up in the same way, that it changes: mappings are merged key by key, but
            one with a `type` replaces what was there.
        overrides: changes to the file, each `key=value` or `key:key:key=value` with a YAML value (`--force_yml`).
        model: the schema.
        nodes: where its type nodes are, and the classes that each may name.
        from_code: names of constructor arguments that the program gives, not the file.

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
        source = " ".join([source, "--force_yml", *overrides])
    try:
        options = model.model_validate(data)
    except ValidationError as error:
        raise schema_error(source, error, model) from None
    for key, table in nodes.items():
        node = attrgetter(key)(options)
        node.prefix = f"{source}: {key}."
        registry.check(table, node, from_code)
    return options


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
        raise user_error(f"{path}: found {found(data)}, expected a mapping of options")
    if "base" not in data:
        return data, str(path)
    base = data.pop("base")
    if not isinstance(base, str):
        raise user_error(f"{path}: base: found {found(base)}, expected the path of a YAML file")
    if file in above:
        raise user_error(f"{path}: base: found a circle of files, expected an end of it")
    below, source = _read_with_base(Path(base), (*above, file))
    return _merge(below, data), f"{path} (base: {source})"


def _merge(below: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in data.items():
        old = below.get(key)
        both = isinstance(old, dict) and isinstance(value, dict) and "type" not in value
        merged[key] = _merge(old, value) if both else value
    return merged


def _find(path: Path) -> Path:
    """The file itself: relative to the current folder or else to the repository's root."""
    found_at = locate(path)
    if found_at.is_file():
        return found_at
    if found_at.is_dir():
        raise user_error(f"{path}: found a folder, expected a YAML file")
    folders = (path.parent, REPOSITORY / path.parent)
    there = [str(path.parent / file.name) for folder in folders for file in folder.glob("*.y*ml")]
    close = difflib.get_close_matches(str(path), there, n=1)
    question = f" (did you mean {close[0]!r}?)" if close else ""
    raise user_error(f"{path}: found no such file, expected a YAML file{question}")


def _override(data: dict[str, Any], override: str) -> None:
    """Set one value in place."""
    source = f"--force_yml {override}"
    key, equals, text = override.partition("=")
    *parents, last = key.split(":")
    if not equals or not last or not all(parents):
        raise user_error(f"{source}: found no key:key=value, expected for example train:total_iter=1000")
    section = data
    for depth, parent in enumerate(parents, start=1):
        if section.get(parent) is None:
            section[parent] = {}
        section = section[parent]
        if not isinstance(section, dict):
            at = ".".join(parents[:depth])
            raise user_error(f"{source}: {at}: found {found(section)}, expected a mapping of options")
    section[last] = parse_yaml(text, source)
