"""The YAML reader and writer of all files: options, camera.yml.

Numbers as experiments write them: `1e-4` is a number, a date is a string. What no such file needs is refused: duplicate
keys, keys that are not strings, tags, deep nesting, aliases that refer to themselves or multiply the document.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import read_regular

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_NODES = 20_000
"""Largest number of values in a document, with each alias counted as the values that it stands for."""
MAX_DIGITS = 100

_TAG = "tag:yaml.org,2002:"
_FLOAT = f"{_TAG}float"
_SCALARS = {f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null")}
_NUMBERS = {f"{_TAG}int", _FLOAT}
_EXPONENT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$")


def parse_yaml(text: str, source: str) -> Any:
    """Read one YAML document.

    Args:
        text: the document.
        source: what errors name.

    Returns:
        Its value: mappings as dict with string keys, sequences as list, scalars as int, float, bool, str or None.

    Raises:
        UserError: the text is not YAML, or holds what no file of this project needs.
    """
    if len(text) > MAX_BYTES:
        raise UserError(f"{source}: {len(text)} characters, the limit is {MAX_BYTES}")
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            loader.check(node, {}, set())
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise UserError(f"{source}: {line}{problem}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{source}: {error}") from None


def read_yaml(path: Path, expected: str = "a YAML file") -> Any:
    """Read a YAML file, called `expected` in errors; UserError if it is unreadable or `parse_yaml` refuses it."""
    try:
        text = read_regular(path, MAX_BYTES, expected).decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8, expected {expected}") from None
    return parse_yaml(text, str(path))


def dump_yaml(value: object) -> str:
    """Write a value so that `parse_yaml` reads the same.

    In ASCII: left as they are, some of Unicode's line breaks would be read back as spaces.
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _problem(f"nested more than {MAX_DEPTH} levels deep", self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError):  # 0x_, !!bool maybe, !!int ''
            raise _problem(f"{str(node.value)[:60]!r} is not {_kind(node)}", node.start_mark) from None

    def check(self, node: yaml.Node, sizes: dict[yaml.Node, int], above: set[yaml.Node]) -> int:
        """Check a node and count its values, aliases expanded; `sizes` collects the counts, `above` has its parents."""
        if node in above:
            raise _problem("an alias is part of what it refers to", node.start_mark)
        if node not in sizes:
            above.add(node)
            if isinstance(node, yaml.MappingNode):
                _check_keys(node)
                parts = [value for _, value in node.value]
            else:
                parts = node.value if isinstance(node, yaml.SequenceNode) else []
                _check_tag(node)
            sizes[node] = 1 + sum(self.check(part, sizes, above) for part in parts)
            above.remove(node)
        if sizes[node] > MAX_NODES:
            raise _problem(f"more than {MAX_NODES} values, each alias counted as often as used", node.start_mark)
        return sizes[node]


class _Dumper(yaml.SafeDumper):
    pass


# YAML 1.1, which PyYAML reads, takes 1e-4 for a string and 2026-01-01 for a date.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+.0123456789"))
_Dumper.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+.0123456789"))  # so that the string "1e-4" is quoted


def _check_keys(node: yaml.MappingNode) -> None:
    if node.tag != f"{_TAG}map":
        raise _problem(f"the tag {node.tag} is not accepted", node.start_mark)
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
            shown = key.value[:60] if isinstance(key, yaml.ScalarNode) else f"a {key.id}"
            raise _problem(f"the key {shown} is not a string; put it in quotes", key.start_mark)
        if key.value in seen:
            raise _problem(f"the key {key.value!r} appears twice in one mapping; remove one", key.start_mark)
        seen.add(key.value)


def _check_tag(node: yaml.Node) -> None:
    if node.tag not in (_SCALARS if isinstance(node, yaml.ScalarNode) else {f"{_TAG}seq"}):
        raise _problem(f"the tag {node.tag} is not accepted", node.start_mark)
    if node.tag in _NUMBERS and len(node.value) > MAX_DIGITS:
        raise _problem(f"a number of {len(node.value)} characters, the limit is {MAX_DIGITS}", node.start_mark)


def _kind(node: yaml.Node) -> str:
    kinds = {"int": "an integer", "float": "a number", "bool": "true or false"}
    return kinds.get(node.tag.removeprefix(_TAG), "a value")


def _problem(text: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=mark)
