"""YAML as experiments write it: `1e-4` is a number, a date is a text, and a key stands once."""

import re
from pathlib import Path
from typing import Any

import yaml

from twostagealign.options.messages import user_error

_FLOAT = "tag:yaml.org,2002:float"
_EXPONENT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$")


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"found the key {key.value!r} a second time, expected each key once"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else key)
        return node


class _Dumper(yaml.SafeDumper):
    pass


# YAML 1.1, which PyYAML reads, takes 1e-4 for a text and 2026-01-01 for a date.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+.0123456789"))
_Dumper.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+.0123456789"))  # so that the text "1e-4" is quoted


def parse_yaml(text: str, source: str) -> Any:
    """Read one YAML document.

    Args:
        text: the document.
        source: what errors name.

    Returns:
        Its value: mappings as dict, sequences as list, scalars as int, float, bool, str or None.

    Raises:
        UserError: the text is not YAML, or a mapping holds a key twice.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise user_error(f"{source}: {line}{problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Besides errors of grammar: numbers that are none (0x_), nesting that has no end.
        raise user_error(f"{source}: {error}") from None


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        UserError: the file cannot be read, or its content, as in `parse_yaml`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise user_error(f"{path}: found bytes that are no UTF-8, expected a YAML file") from None
    except OSError as error:
        raise user_error(f"{path}: {error.strerror}, expected a YAML file") from None
    return parse_yaml(text, str(path))


def dump_yaml(value: object) -> str:
    """Write a value so that `parse_yaml` reads the same.

    In ASCII: left as they are, some of Unicode's line breaks would be read back as spaces.
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)
