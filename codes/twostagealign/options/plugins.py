"""Code from outside the package: import of modules that the user names, and registries that hold what they define.

A registered name is short: `MyNet`. A dotted name, `my_lab.nets.MyNet`, is a module and a name in it. Dotted names are
followed into modules that `import_plugin` has imported, and into their submodules. A checkpoint imports nothing.
"""

import importlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.validation import one_of, quote

T = TypeVar("T", bound=Callable[..., Any])

_MODULES: set[str] = set()
"""Modules that `import_plugin` has imported."""
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def import_plugin(name: str, source: str = "--import") -> None:
    """Import a module; option files and checkpoints may then name what it defines.

    Args:
        name: the module, such as "my_lab.nets". It must be installed, or lie in a folder of PYTHONPATH.
        source: the option or file that errors name.

    Raises:
        UserError: there is no such module, or it raises an exception.
    """
    if not _DOTTED.fullmatch(name):
        raise UserError(f"{source}: found {quote(name)}, expected the name of a module, such as my_lab.nets")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise UserError(
                f"{source}: no module {error.name}; install its package, or add its folder to PYTHONPATH"
            ) from error
        raise _broken(source, name, error) from error
    except UserError:
        raise
    except Exception as error:  # a module may raise anything
        raise _broken(source, name, error) from error
    _MODULES.add(name)


def _broken(source: str, name: str, error: Exception) -> UserError:
    if isinstance(error, SyntaxError):
        text, file, line = error.msg, error.filename, error.lineno
    else:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text, file, line = str(error), last.filename, last.lineno
    return UserError(f"{source}: module {name}: {type(error).__name__}: {text} ({file}, line {line})")


def full_name(entry: Callable[..., Any]) -> str:
    """Module and name of a class or function."""
    return f"{entry.__module__}.{getattr(entry, '__qualname__', type(entry).__qualname__)}"


class Registry(Mapping[str, T], Generic[T]):
    """Classes or functions of one kind, by the names that option files give them.

    Args:
        kind: what the entries are, such as "network", for error messages.
        entries: the package's own entries, by name.
        needs: methods and attributes that a class needs to be of this kind. Without them, an option file could call any
            class of any package.

    Example:
        >>> shapes = Registry("shape", {"dict": dict}, needs=("__len__",))
        >>> @shapes.register
        ... class Square:
        ...     def __len__(self):
        ...         return 4
        >>> list(shapes)
        ['dict', 'Square']
    """

    def __init__(self, kind: str, entries: Mapping[str, T], needs: Sequence[str] = ()) -> None:
        self.kind = kind
        self.needs = tuple(needs)
        self._entries = dict(entries)
        self._own = frozenset(entries)

    def register(self, entry: T) -> T:
        """Add a class or function under its own name. Use it as a decorator.

        Raises:
            ValueError: the name is taken, or the class lacks a method.
        """
        name = entry.__name__
        known = self._entries.get(name)
        if known is not None and (name in self._own or full_name(known) != full_name(entry)):
            raise ValueError(f"{self.kind} {name}: registered already, by {full_name(known)}; choose another name")
        if problem := self._problem(entry):
            raise ValueError(f"{full_name(entry)}: {problem}")
        self._entries[name] = entry
        return entry

    def __getitem__(self, name: str) -> T:
        if name in self._entries:
            return self._entries[name]
        for entry in self._entries.values():
            if full_name(entry) == name:
                return entry
        entry = _loaded(name)
        if entry is None or self._problem(entry):
            raise KeyError(name)
        return entry

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def follow(self, name: str, source: str) -> None:
        """Import the module of a dotted name; other names stay as they are.

        Raises:
            UserError: the module cannot be imported. The line begins with `source`.
        """
        module, _, _ = name.rpartition(".")
        if module and name not in self:
            import_plugin(module, source)

    def reference(self, name: str) -> str:
        """Name by which a checkpoint refers to an entry: with its module, unless it is the package's own."""
        entry = self[name]
        own = next((short for short in self._own if self._entries[short] is entry), None)
        return own or full_name(entry)

    def explain(self, name: str) -> str:
        """Why there is no such entry, and what to do: the end of an error message."""
        module, _, attribute = name.rpartition(".")
        if not module:
            return f"found {quote(name)}, expected {one_of(name, self)}"
        if not _is_imported(module):
            return (
                f"found {quote(name)}, a {self.kind} outside this package; to use its code, pass --import {module[:60]}"
            )
        entry = _loaded(name)
        if entry is None:
            return f"found {quote(name)}, but module {module} defines no {attribute}"
        return f"found {quote(name)}: {self._problem(entry)}"

    def _problem(self, entry: object) -> str | None:
        """What keeps an object from being an entry; None: nothing."""
        if not callable(entry):
            return f"no {self.kind}, since it cannot be called"
        if not self.needs:
            return None
        if not isinstance(entry, type):
            return f"no {self.kind}, since it is not a class"
        missing = [name for name in self.needs if not any(name in vars(base) for base in entry.__mro__)]
        return f"no {self.kind}, since it lacks {', '.join(missing)}" if missing else None


def _is_imported(module: str) -> bool:
    """Whether the user has asked for a module, or for a package whose import loads it."""
    asked = any(module == name or module.startswith(f"{name}.") for name in _MODULES)
    return asked and module in sys.modules


def _loaded(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(sys.modules[module], attribute, None) if module and _is_imported(module) else None
