"""Engines, what they are made with, and what a call may use up."""

from __future__ import annotations

import ctypes as c
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import _library
from ._error import Handle, NixError, check
from ._library import String, lib
from ._value import Value, limits, out

if TYPE_CHECKING:
    from ._store import Store

# Callbacks by number, until the library drops them.
_callbacks: dict[int, tuple[object, ...]] = {}


def _forget(number: int | None) -> None:
    _callbacks.pop(number or 0, None)


# What the library calls with the number of callbacks that it needs no longer.
_drop = _library.Drop(_forget)


def keep(*objects: Any) -> int:
    """Keeps objects alive until the library calls `_drop` with the number that this returns."""
    number = max(_callbacks, default=0) + 1
    _callbacks[number] = objects
    return number


class Cancel(Handle):
    """Stops what runs with it, from any thread."""

    _free = "cancel_free"

    def __init__(self) -> None:
        super().__init__(lib.cancel_new())

    def fire(self) -> None:
        """Stops it."""
        lib.cancel_fire(self._handle)


class Budget:
    """What one call may use up; what is None has no limit."""

    def __init__(self, *, steps: int | None = None, heap_bytes: int | None = None, time_ms: int | None = None, cancel: Cancel | None = None) -> None:
        self.steps, self.heap_bytes, self.time_ms, self.cancel = steps, heap_bytes, time_ms, cancel

    def to_c(self) -> _library.Budget:
        cancel = self.cancel._handle if self.cancel else None
        return _library.Budget(c.sizeof(_library.Budget), self.steps or 0, self.heap_bytes or 0, self.time_ms or 0, cancel)


class Config(Handle):
    """What engines and stores are made with: Nix's settings, a search path, a store."""

    _free = "config_free"

    def __init__(self, settings: Mapping[str, str] | None = None, *, search_path: Sequence[str] = (), store: "Store | None" = None, load: bool = False) -> None:
        super().__init__(lib.config_new())
        if load:
            check(lib.config_load(self._handle))
        for name, value in (settings or {}).items():
            check(lib.config_set(self._handle, String.of(name), String.of(value)))
        for entry in search_path:
            check(lib.config_add_search_path(self._handle, String.of(entry)))
        if store:
            check(lib.config_set_store(self._handle, store._handle))

    def on_message(self, function: Callable[[str, str], None]) -> "Config":
        """Calls `function(kind, text)` with what traces and warnings say."""
        callback = _library.MessageFunction(lambda _, kind, text: function(("trace", "warn", "warning")[kind], text.text()))
        check(lib.config_set_messages(self._handle, callback, keep(callback), _drop))
        return self


class Engine(Handle):
    """A heap with an evaluator. Engines are independent of each other."""

    _free = "engine_free"

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(out(lib.engine_new, config._handle if config else None))

    def evaluate(self, text: str | bytes, *, base: str = "/", budget: Budget | None = None) -> Value:
        """Evaluates an expression until its outermost form is known. Relative paths in it start at `base`."""
        return Value(out(lib.evaluate, self._handle, String.of(text), String.of(base), limits(budget)))

    def evaluate_file(self, path: str, *, budget: Budget | None = None) -> Value:
        """Evaluates a file by its absolute path."""
        return Value(out(lib.evaluate_file, self._handle, String.of(path), limits(budget)))

    def value(self, it: Any) -> Value:
        """Makes a value of Python's None, bool, int, float, str, bytes, list, dict, or of a function."""
        def make(call: Any, *arguments: Any) -> Value:
            return Value(out(call, self._handle, *arguments))

        match it:
            case Value():
                return Value(lib.value_retain(it._handle))
            case None:
                return make(lib.make_null)
            case bool():
                return make(lib.make_bool, it)
            case int():
                return make(lib.make_int, it)
            case float():
                return make(lib.make_float, it)
            case str() | bytes():
                return make(lib.make_string, String.of(it), None, 0)
            case Mapping():
                values = [self.value(value) for value in it.values()]
                names = (String * max(len(values), 1))(*(String.of(str(name)) for name in it))
                encoded = [str(name).encode() for name in it]
                for i, name in enumerate(encoded):
                    names[i] = String(c.cast(c.c_char_p(name), c.c_void_p), len(name))
                return make(lib.make_attrs, names, (c.c_void_p * max(len(values), 1))(*(value._handle for value in values)), len(values))
            case list() | tuple():
                values = [self.value(value) for value in it]
                return make(lib.make_list, (c.c_void_p * max(len(values), 1))(*(value._handle for value in values)), len(values))
            case _ if callable(it):
                return self.function(it)
        raise TypeError(f"no value can be made of a {type(it).__name__}")

    def function(self, function: Callable[..., Any], name: str | None = None) -> Value:
        """Makes a function of the host of a callable: it gets Values and returns anything that `value` takes. What it raises becomes the evaluation's error."""
        arity = len(inspect.signature(function).parameters)

        def call(_: int, arguments: Any, count: int, result: Any) -> int | None:
            try:
                made = self.value(function(*(Value(lib.value_retain(arguments[i])) for i in range(count))))
                result[0], made._handle = made._handle, None
                return None
            except NixError as failed:
                return int(lib.error_new(failed.code, String.of(failed.message)))
            except BaseException as failed:
                return int(lib.error_new(17, String.of(f"{type(failed).__name__}: {failed}")))

        callback = _library.Function(call)
        label = name or getattr(function, "__name__", "function").strip("<>")
        return Value(out(lib.make_function, self._handle, String.of(label), arity, callback, keep(callback), _drop))

    def builtin(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: makes a Python function a builtin of its name."""
        self.add_builtin(function.__name__, function)
        return function

    def add_builtin(self, name: str, it: Any) -> None:
        """Makes something a builtin: `name` and `builtins.name`."""
        made = self.function(it, name) if callable(it) and not isinstance(it, Value) else self.value(it)
        check(lib.engine_add_builtin(self._handle, String.of(name), made._handle))

    @property
    def statistics(self) -> dict[str, int]:
        """Bytes of heap in use, and steps taken so far."""
        result = _library.Statistics(c.sizeof(_library.Statistics))
        check(lib.engine_statistics(self._handle, c.byref(result)))
        return {"heap_bytes": result.heap_bytes, "steps": result.steps}
