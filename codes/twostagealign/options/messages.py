"""How a problem with an option is worded: one line with what was found and what is expected."""

import difflib
import inspect
import re
import reprlib
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from twostagealign.options.schema import Node
from twostagealign.runtime.errors import UserError

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60

_PLAIN = {
    int: "an integer",
    float: "a number",
    str: "a text",
    bool: "true or false",
    types.NoneType: "null",
    Path: "a path",
    Node: "{type: Name, argument: value, ...}",
}

_EXPECTED = {
    "int_type": _PLAIN[int],
    "int_from_float": _PLAIN[int],
    "float_type": _PLAIN[float],
    "string_type": _PLAIN[str],
    "bool_type": _PLAIN[bool],
    "tuple_type": "a list",
    "list_type": "a list",
    "model_type": "a mapping of options",
}


def user_error(text: str) -> UserError:
    """The error with that text; it stays one line whatever file names and values it quotes."""
    return UserError(" ".join(text.splitlines()))


def found(value: object) -> str:
    """How a value from a file is quoted: as Python writes it, shortened."""
    return _SHORT.repr(value)


def one_of(word: object, known: Iterable[str]) -> str:
    """The known names and, if one is close to the word, a question whether it was meant."""
    names = list(known)
    return f"one of {', '.join(names) or '(none)'}{_did_you_mean(word, names)}"


def a_value_of(annotation: Any) -> str:
    """A type in words."""
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return a_value_of(members[0])
    if origin in (Union, types.UnionType):
        return " or ".join(a_value_of(member) for member in members)
    if origin is Literal:
        return " or ".join(map(repr, members))
    if origin is list:
        return f"a list of entries, each {a_value_of(members[0])}"
    if origin is tuple:
        return f"a list of {len(members)} entries ({', '.join(a_value_of(member) for member in members)})"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return _EXPECTED["model_type"]
    return _PLAIN.get(annotation) or inspect.formatannotation(annotation)


def schema_error(source: str, error: ValidationError, model: type[BaseModel]) -> UserError:
    """The first problem of a file that does not fit a schema; unknown keys first, since a misspelt key also lacks."""
    first = min(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
    location = first["loc"]
    if first["type"] == "extra_forbidden":
        text = f"found an unknown key, expected {one_of(location[-1], _model_at(model, location[:-1]).model_fields)}"
    elif first["type"] == "missing" and isinstance(location[-1], str):
        annotation = _model_at(model, location[:-1]).model_fields[location[-1]].annotation
        text = f"found nothing, expected {a_value_of(annotation)}"
    else:
        text = _describe(first)
    return user_error(f"{source}: {'.'.join(map(str, location))}: {text}")


def argument_error(key: str, value: object, annotation: Any, error: ValidationError) -> UserError:
    """A constructor's argument that does not fit its annotation."""
    first = error.errors()[0]
    if any(isinstance(step, str) for step in first["loc"]):  # the members of a union, each with its own complaint
        return user_error(f"{key}: found {found(value)}, expected {a_value_of(annotation)}")
    return user_error(f"{'.'.join([key, *map(str, first['loc'])])}: {_describe(first)}")


def _describe(error: ErrorDetails) -> str:
    """'found ..., expected ...' for one error of pydantic."""
    kind, message = error["type"], error["msg"]
    expected = message.removeprefix("Input should be ").replace("a valid ", "a ")
    if kind == "value_error":  # raised by a check of the schema, which words it itself
        return str(error["ctx"]["error"])
    if kind == "missing":
        return f"found no such entry in {found(error['input'])}, expected one"
    if kind == "literal_error":
        expected += _did_you_mean(error["input"], re.findall("'([^']*)'", expected))
    elif kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        expected = f"a number {expected}"
    elif kind == "too_short":
        expected = f"a list of at least {error['ctx']['min_length']}"
    elif kind == "too_long":
        expected = f"a list of at most {error['ctx']['max_length']}"
    return f"found {found(error['input'])}, expected {_EXPECTED.get(kind, expected)}"


def _did_you_mean(word: object, known: list[str]) -> str:
    close = difflib.get_close_matches(str(word), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _model_at(model: Any, location: tuple[int | str, ...]) -> type[BaseModel]:
    for step in location:
        model = model.model_fields[step].annotation
    return model
