"""The messages for data that does not fit its schema: pydantic's errors, each as one line in plain English."""

import difflib
import inspect
import re
import reprlib
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from twostagealign.runtime.errors import UserError

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60

_PLAIN = {
    int: "an integer",
    float: "a number",
    str: "a string",
    bool: "true or false",
    types.NoneType: "null",
    Path: "a path",
}

_EXPECTED = {
    "int_type": _PLAIN[int],
    "int_parsing": _PLAIN[int],
    "int_parsing_size": _PLAIN[int],
    "float_parsing": _PLAIN[float],
    "int_from_float": _PLAIN[int],
    "float_type": _PLAIN[float],
    "string_type": _PLAIN[str],
    "bool_type": _PLAIN[bool],
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def quote(value: object) -> str:
    """A value from a file, as Python writes it, shortened to one line."""
    return " ".join(_SHORT.repr(value).splitlines())


def one_of(word: object, known: Iterable[str]) -> str:
    """The known names and, if one is close to the word, a question whether it was meant."""
    names = list(known)
    return f"one of {', '.join(names) or '(none)'}{_did_you_mean(word, names)}"


def a_value_of(annotation: Any) -> str:
    """A type in words. A class may give its own as `EXPECTED`."""
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
    if origin is dict or (inspect.isclass(annotation) and issubclass(annotation, BaseModel)):
        return "a mapping"
    return getattr(annotation, "EXPECTED", None) or _PLAIN.get(annotation) or inspect.formatannotation(annotation)


def first_error(error: ValidationError) -> ErrorDetails:
    """First error of a file. Unknown keys come first, because a misspelt key also causes a missing one."""
    return min(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")


def schema_error(source: str, error: ValidationError, model: type[BaseModel]) -> UserError:
    """Make the error of data that does not fit a model, "SOURCE: KEY.KEY: what is wrong".

    Args:
        source: the file that the message names.
        error: of the model.
        model: the pydantic model.
    """
    first = first_error(error)
    location = first["loc"]
    key = str(location[-1]) if location else ""
    if first["type"] == "extra_forbidden":
        text = f"unknown key, expected {one_of(key, _fields(model, location[:-1]))}"
    elif first["type"] == "missing" and key in _fields(model, location[:-1]):
        text = f"missing, expected {a_value_of(_fields(model, location[:-1])[key])}"
    else:
        text = describe_error(first)
    return UserError(": ".join([source, *[".".join(map(str, location))] * bool(location), text]))


def argument_error(key: str, value: object, annotation: Any, error: ValidationError) -> UserError:
    """The first error of a constructor's argument that does not fit its annotation."""
    first = error.errors()[0]
    if any(isinstance(step, str) for step in first["loc"]):  # the members of a union, each with its own complaint
        return UserError(f"{key}: found {quote(value)}, expected {a_value_of(annotation)}")
    return UserError(f"{'.'.join([key, *map(str, first['loc'])])}: {describe_error(first)}")


def describe_error(error: ErrorDetails) -> str:
    """What is wrong with one value."""
    kind, message = error["type"], error["msg"]
    expected = message.removeprefix("Input should be ").replace("a valid ", "a ")
    if kind == "value_error":  # raised by a check of the schema, which words it itself
        return str(error["ctx"]["error"])
    if kind == "json_invalid":
        return f"not JSON ({error['ctx']['error']})"
    if kind == "missing":
        return f"missing from {quote(error['input'])}"
    if kind == "literal_error":
        expected += _did_you_mean(error["input"], re.findall("'([^']*)'", expected))
    elif kind in ("greater_than", "less_than"):
        expected = f"a number {expected}"
    elif kind in ("greater_than_equal", "less_than_equal"):
        expected = expected.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    elif kind == "too_short":
        expected = f"at least {error['ctx']['min_length']} entries"
    elif kind == "too_long":
        expected = f"at most {error['ctx']['max_length']} entries"
    return f"found {quote(error['input'])}, expected {_EXPECTED.get(kind, expected)}"


def _did_you_mean(word: object, known: list[str]) -> str:
    close = difflib.get_close_matches(str(word), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _fields(annotation: Any, location: Sequence[int | str]) -> dict[str, Any]:
    """Name -> annotation of the fields of the model at a location; empty where there is no model."""
    for step in location:
        annotation = _part(annotation, step)
    models = [choice for choice in _choices(annotation) if inspect.isclass(choice) and issubclass(choice, BaseModel)]
    return {name: field.annotation for model in models for name, field in model.model_fields.items()}


def _part(annotation: Any, step: int | str) -> Any:
    """Annotation of a field, or of an entry of a container."""
    fields = _fields(annotation, ())
    if step in fields:
        return fields[str(step)]
    containers = [choice for choice in _choices(annotation) if get_origin(choice) in (list, tuple, dict)]
    return get_args(containers[0])[-1] if containers else None


def _choices(annotation: Any) -> tuple[Any, ...]:
    """Members of a union; the annotation itself if it is none."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
