"""Values: lazy like in the language; reading a part evaluates that part."""

from __future__ import annotations

import ctypes as c
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _library
from ._error import Handle, MissingAttribute, NixError, check, take
from ._library import String, lib

if TYPE_CHECKING:
    from ._engine import Budget

_TYPES = ["none", "thunk", "null", "bool", "int", "float", "string", "path", "list", "set", "function", "object"]


@dataclass(frozen=True)
class Reference:
    """What a string refers to in a store: a `path`, a `derivation` with all that belongs to it, or an `output` of one."""

    kind: str
    path: str
    output: str


def out(call: Any, *arguments: Any) -> int:
    """Calls a function whose last pointer is for a handle, and returns that."""
    result = c.c_void_p()
    check(call(*arguments, c.byref(result)))
    return result.value or 0


def limits(budget: "Budget | None") -> Any:
    return c.byref(budget.to_c()) if budget else None


class Value(Handle):
    """A value, possibly not evaluated yet."""

    _free = "value_free"

    @property
    def type(self) -> str:
        """What it is so far: `"thunk"` until it was evaluated."""
        return _TYPES[int(lib.value_type(self._handle))]

    def force(self, budget: "Budget | None" = None) -> "Value":
        """Evaluates it until its outermost form is known."""
        check(lib.value_force(self._handle, limits(budget)))
        return self

    def force_deep(self, budget: "Budget | None" = None) -> "Value":
        """Evaluates all of it."""
        check(lib.value_force_deep(self._handle, limits(budget)))
        return self

    def _text(self, call: Any, budget: "Budget | None" = None) -> str:
        result = _library.Bytes()
        check(call(self._handle, limits(budget), c.byref(result)))
        return take(result)

    def to_json(self, budget: "Budget | None" = None) -> str:
        """Returns all of it as JSON."""
        return self._text(lib.value_to_json, budget)

    def python(self, budget: "Budget | None" = None) -> Any:
        """Returns all of it as Python's own dicts, lists, strings and numbers."""
        return json.loads(self.to_json(budget))

    def documentation(self, budget: "Budget | None" = None) -> str:
        """Returns what is known of a function, as Markdown; nothing for everything else."""
        return self._text(lib.value_documentation, budget)

    def derivation(self, budget: "Budget | None" = None) -> str:
        """Returns the path of the `.drv` file of a derivation."""
        return self._text(lib.value_derivation, budget)

    def _scalar(self, getter: Any, result: Any, wanted: str) -> Any:
        self.force()
        if not getter(self._handle, c.byref(result)):
            raise TypeError(f"the value is a {self.type}, not a {wanted}")
        return result

    def __int__(self) -> int:
        return int(self._scalar(lib.value_int, c.c_int64(), "int").value)

    def __float__(self) -> float:
        return float(int(self)) if self.force().type == "int" else float(self._scalar(lib.value_float, c.c_double(), "float").value)

    def __bool__(self) -> bool:
        return bool(self._scalar(lib.value_bool, c.c_bool(), "bool").value)

    def __str__(self) -> str:
        kind = self.force().type
        if kind == "string":
            return str(self._scalar(lib.value_string, String(), "string").text())
        if kind == "path":
            return str(self._scalar(lib.value_path, String(), "path").text())
        return self._text(lib.value_print)

    def __repr__(self) -> str:
        return f"<nixlang.Value {self._text(lib.value_print)}>" if self._handle else "<nixlang.Value closed>"

    def __len__(self) -> int:
        return int(lib.value_length(self.force()._handle))

    def __getitem__(self, key: int | str) -> "Value":
        self.force()
        if isinstance(key, int):
            found = lib.value_element(self._handle, key if key >= 0 else key + len(self))
            if not found:
                raise IndexError(key)
        else:
            found = lib.value_attribute(self._handle, String.of(key))
            if not found:
                raise MissingAttribute(f"attribute '{key}' missing")
        return Value(found)

    def __contains__(self, name: str) -> bool:
        found = lib.value_attribute(self.force()._handle, String.of(name))
        lib.value_free(found)
        return bool(found)

    def __iter__(self) -> Iterator[Any]:
        """Iterates over a list's elements, or a set's names."""
        if self.force().type == "list":
            return (self[i] for i in range(len(self)))
        return iter(self.keys())

    def keys(self) -> list[str]:
        """Returns the names of a set, sorted."""
        return [name for name, _ in self.items()]

    def items(self) -> Iterator[tuple[str, "Value"]]:
        """Iterates over names and values of a set, evaluating none."""
        name = String()
        for index in range(len(self)):
            found = lib.value_attribute_at(self._handle, index, c.byref(name))
            if found:
                yield name.text(), Value(found)

    def select(self, path: str, budget: "Budget | None" = None) -> "Value":
        """Returns what is at a path such as `servers.0.name`."""
        return Value(out(lib.value_select, self._handle, String.of(path), limits(budget)))

    def __call__(self, *arguments: "Value", budget: "Budget | None" = None) -> "Value":
        handles = (c.c_void_p * max(len(arguments), 1))(*(argument._handle for argument in arguments))
        return Value(out(lib.value_call, self._handle, handles, len(arguments), limits(budget)))

    @property
    def references(self) -> list[Reference]:
        """What a string refers to."""
        found: list[Reference] = []
        reference = _library.Reference()
        while lib.value_reference_at(self.force()._handle, len(found), c.byref(reference)):
            found.append(Reference(["path", "derivation", "output"][reference.kind], reference.path.text(), reference.output.text()))
        return found

    @property
    def formals(self) -> dict[str, bool]:
        """The arguments that a function takes by name, and whether each has a default."""
        found: dict[str, bool] = {}
        formal = _library.Formal()
        while lib.value_formal_at(self.force()._handle, len(found), c.byref(formal)):
            found[formal.name.text()] = formal.has_default
        return found


__all__ = ["NixError", "Reference", "Value"]
