"""The Nix C API from Python: the same few lines run on libnixlang and on a real libnixexprc, for comparing the two.

>>> nix = Nix()                      # libnixlang
>>> nix = Nix("libnixexprc.so")      # the reference, in a process of its own: the two can't share one
"""

from __future__ import annotations

import ctypes as c
from typing import Any

P = c.c_void_p
_Callback = c.CFUNCTYPE(None, P, c.c_uint, P)
_TYPES = ["thunk", "int", "float", "bool", "string", "path", "null", "attrs", "list", "function", "external", "failed"]


class NixApiError(Exception):
    """An error of the Nix C API, with its code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Nix:
    """A store and a state, and evaluating in it."""

    def __init__(self, library: str | None = None, store: str = "dummy://") -> None:
        if library is None:
            from ._library import _find

            library = _find()
        self._lib = c.CDLL(library, mode=c.RTLD_GLOBAL)
        self._lib.nix_c_context_create.restype = P
        self._context = P(self._lib.nix_c_context_create())
        self._call(c.c_int, "nix_libexpr_init", self._context)
        self._store = P(self._call(P, "nix_store_open", self._context, store.encode(), None))
        self._state = P(self._call(P, "nix_state_create", self._context, None, self._store))

    def _call(self, result: Any, name: str, *arguments: object) -> Any:
        function = getattr(self._lib, name)
        function.restype = result
        value = function(*arguments)
        code = self._lib.nix_err_code(self._context)
        if code != 0:
            self._lib.nix_err_msg.restype = c.c_char_p
            message = self._lib.nix_err_msg(None, self._context, None) or b""
            raise NixApiError(code, message.decode(errors="replace"))
        return value

    def evaluate(self, text: str) -> object:
        """Evaluates an expression and returns all of it as Python objects; functions and the like as their type's name."""
        value = P(self._call(P, "nix_alloc_value", self._context, self._state))
        try:
            self._call(c.c_int, "nix_expr_eval_from_string", self._context, self._state, text.encode(), b"/", value)
            return self._python(value)
        finally:
            self._lib.nix_value_decref(None, value)

    def _python(self, value: P) -> object:
        ctx = self._context
        kind = _TYPES[self._call(c.c_int, "nix_get_type", ctx, value)]
        if kind == "string":
            parts: list[bytes] = []
            callback = _Callback(lambda start, n, _: parts.append(c.string_at(start, n)))
            self._call(c.c_int, "nix_get_string", ctx, value, callback, None)
            return parts[0].decode(errors="surrogateescape")
        if kind == "list":
            return [self._element("nix_get_list_byidx", value, i) for i in range(self._call(c.c_uint, "nix_get_list_size", ctx, value))]
        if kind == "attrs":
            found = {}
            for i in range(self._call(c.c_uint, "nix_get_attrs_size", ctx, value)):
                attribute = c.c_char_p()
                element = P(self._call(P, "nix_get_attr_byidx", ctx, value, self._state, c.c_uint(i), c.byref(attribute)))
                found[(attribute.value or b"").decode()] = self._python(element)
                self._lib.nix_value_decref(None, element)
            return dict(sorted(found.items()))
        getters = {"int": (c.c_int64, "nix_get_int"), "float": (c.c_double, "nix_get_float"), "bool": (c.c_bool, "nix_get_bool")}
        if kind in getters:
            result, name = getters[kind]
            return self._call(result, name, ctx, value)
        if kind == "path":
            return self._call(c.c_char_p, "nix_get_path_string", ctx, value).decode()
        return None if kind == "null" else kind

    def _element(self, name: str, value: P, index: int) -> object:
        element = P(self._call(P, name, self._context, value, self._state, c.c_uint(index)))
        try:
            return self._python(element)
        finally:
            self._lib.nix_value_decref(None, element)

    def close(self) -> None:
        """Frees the state, the store and the context."""
        self._lib.nix_state_free(self._state)
        self._lib.nix_store_free(self._store)
        self._lib.nix_c_context_free(self._context)
