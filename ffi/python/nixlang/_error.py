"""Errors as exceptions that carry their place and the way to them."""

from __future__ import annotations

import ctypes as c
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _library
from ._library import lib

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True)
class Place:
    """A place in a source; lines and columns count from 1, columns in bytes."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Frame:
    """A step on the way to an error."""

    message: str
    place: Place | None


class NixError(Exception):
    """What a call failed with."""

    code: int
    place: Place | None
    trace: list[Frame]
    suggestions: list[str]
    rendered: str

    def __init__(self, message: str, code: int = 17) -> None:
        super().__init__(message)
        self.message, self.code, self.place, self.trace, self.suggestions, self.rendered = message, code, None, [], [], message


class EvaluationError(NixError):
    """The expression is wrong."""


class SyntaxError(EvaluationError):
    """The text is no expression."""


class Thrown(EvaluationError):
    """`throw`, `abort` or a failed `assert`."""


class MissingAttribute(EvaluationError, KeyError):
    """A set lacks an attribute."""

    __str__ = Exception.__str__


class Limit(NixError):
    """A budget was used up. The engine can be used further."""


class StepLimit(Limit):
    """Too many steps."""


class HeapLimit(Limit):
    """Too much memory."""


class TimeLimit(Limit):
    """Too long."""


class Cancelled(Limit):
    """Another thread stopped it."""


class StoreError(NixError):
    """A store could not do what it was asked."""


class BuildError(NixError):
    """A build failed."""


_CLASSES: dict[int, type[NixError]] = {
    2: SyntaxError, 3: Thrown, 4: Thrown, 5: Thrown, 7: MissingAttribute, 11: StepLimit, 12: HeapLimit, 13: TimeLimit, 14: Cancelled, 19: StoreError, 20: BuildError,
    17: NixError, 18: NixError, 21: NixError, 22: NixError,
}


def _place(place: _library.Place) -> Place | None:
    return Place(place.file.text(), place.line, place.column) if place.line else None


def check(error: int | None) -> None:
    """Raises what a call returned, if it failed."""
    if not error:
        return
    code = lib.error_code(error)
    failed = _CLASSES.get(code, EvaluationError)(lib.error_message(error).text())
    failed.code, failed.place = code, _place(lib.error_place(error))
    frame = _library.Frame()
    while lib.error_frame(error, len(failed.trace), c.byref(frame)):
        failed.trace.append(Frame(frame.message.text(), _place(frame.place)))
    while suggestion := lib.error_suggestion(error, len(failed.suggestions)).text():
        failed.suggestions.append(suggestion)
    rendered = _library.Bytes()
    if not lib.error_render(error, 1, True, False, c.byref(rendered)):
        failed.rendered = take(rendered)
    lib.error_free(error)
    raise failed


def take(owned: _library.Bytes) -> str:
    """Returns bytes as text and frees them."""
    text = c.string_at(owned.data, owned.length).decode(errors="surrogateescape") if owned.data else ""
    lib.bytes_free(c.byref(owned))
    return text


class Handle:
    """Something of the library that is freed with this object, or at the end of a `with` block."""

    _free: str

    def __init__(self, handle: int | None) -> None:
        self._handle = handle

    def close(self) -> None:
        """Frees it now."""
        handle, self._handle = getattr(self, "_handle", None), None
        if handle:
            getattr(lib, self._free)(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        # While Python ends, the library's functions may be gone already.
        if lib is not None:
            self.close()
