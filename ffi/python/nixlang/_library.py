"""The shared library: where it is, its structures and prototypes. Everything else of the package stands on this."""

from __future__ import annotations

import ctypes as c
import os
from pathlib import Path
from typing import Any

P = c.c_void_p


class String(c.Structure):
    """Borrowed bytes."""

    _fields_ = [("data", P), ("length", c.c_size_t)]

    @classmethod
    def of(cls, text: str | bytes) -> "String":
        encoded = text.encode() if isinstance(text, str) else text
        string = cls(c.cast(c.c_char_p(encoded), P), len(encoded))
        string._kept = encoded
        return string

    def bytes(self) -> bytes:
        return c.string_at(self.data, self.length) if self.data else b""

    def text(self) -> str:
        return self.bytes().decode(errors="surrogateescape")


class Bytes(c.Structure):
    _fields_ = [("data", P), ("length", c.c_size_t)]


class Place(c.Structure):
    _fields_ = [("file", String), ("line", c.c_uint32), ("column", c.c_uint32)]


class Frame(c.Structure):
    _fields_ = [("message", String), ("place", Place), ("always", c.c_bool)]


class Budget(c.Structure):
    _fields_ = [("size", c.c_size_t), ("steps", c.c_uint64), ("heap_bytes", c.c_uint64), ("time_ms", c.c_uint64), ("cancel", P)]


class Statistics(c.Structure):
    _fields_ = [("size", c.c_size_t), ("heap_bytes", c.c_uint64), ("steps", c.c_uint64)]


class Reference(c.Structure):
    _fields_ = [("kind", c.c_int), ("path", String), ("output", String)]


class Formal(c.Structure):
    _fields_ = [("name", String), ("has_default", c.c_bool)]


class Node(c.Structure):
    _fields_ = [("tree", P), ("index", c.c_uint32)]


class SyntaxErrorAt(c.Structure):
    _fields_ = [("message", String), ("start", c.c_uint32), ("end", c.c_uint32)]


class Event(c.Structure):
    _fields_ = [("kind", c.c_int), ("derivation", String), ("text", String)] + [(name, c.c_size_t) for name in ("done", "total", "running", "failed")]


class Output(c.Structure):
    _fields_ = [("derivation", String), ("name", String), ("path", String)]


class Stored(c.Structure):
    _fields_ = [
        ("nar_hash", String),
        ("nar_size", c.c_uint64),
        ("references", c.POINTER(String)),
        ("n_references", c.c_size_t),
        ("deriver", String),
        ("signatures", c.POINTER(String)),
        ("n_signatures", c.c_size_t),
    ]


Drop = c.CFUNCTYPE(None, P)
Function = c.CFUNCTYPE(P, P, c.POINTER(P), c.c_size_t, c.POINTER(P))
Sink = c.CFUNCTYPE(c.c_bool, P, P, c.c_size_t)
MessageFunction = c.CFUNCTYPE(None, P, c.c_int, String)
Found = c.CFUNCTYPE(None, P, c.POINTER(Stored))
OnePath = c.CFUNCTYPE(None, P, String)
Query = c.CFUNCTYPE(P, P, String, Found, P)
WriteNar = c.CFUNCTYPE(P, P, String, Sink, P)
AddNar = c.CFUNCTYPE(P, P, String, c.POINTER(Stored), String)
ValidPaths = c.CFUNCTYPE(P, P, OnePath, P)


class StoreFunctions(c.Structure):
    _fields_ = [("size", c.c_size_t), ("query", Query), ("write_nar", WriteNar), ("add_nar", AddNar), ("valid_paths", ValidPaths)]


_OUT = c.POINTER(P)
# Name: result, arguments. `P` is any handle.
_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "abi_version": (c.c_uint32,),
    "version": (String,),
    "bytes_free": (None, c.POINTER(Bytes)),
    "error_new": (P, c.c_int, String),
    "error_free": (None, P),
    "error_code": (c.c_int, P),
    "error_message": (String, P),
    "error_place": (Place, P),
    "error_frame": (c.c_bool, P, c.c_size_t, c.POINTER(Frame)),
    "error_suggestion": (String, P, c.c_size_t),
    "error_render": (P, P, c.c_int, c.c_bool, c.c_bool, c.POINTER(Bytes)),
    "config_new": (P,),
    "config_free": (None, P),
    "config_set": (P, P, String, String),
    "config_load": (P, P),
    "config_add_search_path": (P, P, String),
    "config_set_store": (P, P, P),
    "config_set_messages": (P, P, MessageFunction, P, Drop),
    "engine_new": (P, P, _OUT),
    "engine_free": (None, P),
    "engine_add_builtin": (P, P, String, P),
    "engine_statistics": (P, P, c.POINTER(Statistics)),
    "cancel_new": (P,),
    "cancel_fire": (None, P),
    "cancel_free": (None, P),
    "evaluate": (P, P, String, String, c.POINTER(Budget), _OUT),
    "evaluate_file": (P, P, String, c.POINTER(Budget), _OUT),
    "evaluate_json": (P, P, String, _OUT),
    "value_retain": (P, P),
    "value_free": (None, P),
    "value_type": (c.c_int, P),
    "value_bool": (c.c_bool, P, c.POINTER(c.c_bool)),
    "value_int": (c.c_bool, P, c.POINTER(c.c_int64)),
    "value_float": (c.c_bool, P, c.POINTER(c.c_double)),
    "value_string": (c.c_bool, P, c.POINTER(String)),
    "value_path": (c.c_bool, P, c.POINTER(String)),
    "value_length": (c.c_size_t, P),
    "value_element": (P, P, c.c_size_t),
    "value_attribute": (P, P, String),
    "value_attribute_at": (P, P, c.c_size_t, c.POINTER(String)),
    "value_reference_at": (c.c_bool, P, c.c_size_t, c.POINTER(Reference)),
    "value_formal_at": (c.c_bool, P, c.c_size_t, c.POINTER(Formal)),
    "value_force": (P, P, c.POINTER(Budget)),
    "value_force_deep": (P, P, c.POINTER(Budget)),
    "value_call": (P, P, _OUT, c.c_size_t, c.POINTER(Budget), _OUT),
    "value_select": (P, P, String, c.POINTER(Budget), _OUT),
    "value_to_json": (P, P, c.POINTER(Budget), c.POINTER(Bytes)),
    "value_print": (P, P, c.POINTER(Budget), c.POINTER(Bytes)),
    "value_documentation": (P, P, c.POINTER(Budget), c.POINTER(Bytes)),
    "value_derivation": (P, P, c.POINTER(Budget), c.POINTER(Bytes)),
    "make_null": (P, P, _OUT),
    "make_bool": (P, P, c.c_bool, _OUT),
    "make_int": (P, P, c.c_int64, _OUT),
    "make_float": (P, P, c.c_double, _OUT),
    "make_string": (P, P, String, P, c.c_size_t, _OUT),
    "make_path": (P, P, String, _OUT),
    "make_list": (P, P, _OUT, c.c_size_t, _OUT),
    "make_attrs": (P, P, c.POINTER(String), _OUT, c.c_size_t, _OUT),
    "make_function": (P, P, String, c.c_size_t, Function, P, Drop, _OUT),
    "parse": (P, String, _OUT),
    "tree_free": (None, P),
    "tree_root": (Node, P),
    "tree_error": (c.c_bool, P, c.c_size_t, c.POINTER(SyntaxErrorAt)),
    "node_is_null": (c.c_bool, Node),
    "node_is_token": (c.c_bool, Node),
    "node_kind": (String, Node),
    "node_text": (String, Node),
    "node_start": (c.c_uint32, Node),
    "node_first_child": (Node, Node),
    "node_next_sibling": (Node, Node),
    "store_open": (P, String, P, _OUT),
    "store_new": (P, c.POINTER(StoreFunctions), String, String, P, Drop, _OUT),
    "store_free": (None, P),
    "store_directory": (String, P),
    "store_address": (String, P),
    "store_path_info": (P, P, String, _OUT),
    "path_info_free": (None, P),
    "path_info_nar_hash": (String, P),
    "path_info_nar_size": (c.c_uint64, P),
    "path_info_reference": (String, P, c.c_size_t),
    "path_info_signature": (String, P, c.c_size_t),
    "path_info_deriver": (String, P),
    "store_is_valid": (P, P, String, c.POINTER(c.c_bool)),
    "store_add_bytes": (P, P, String, String, c.POINTER(Bytes)),
    "store_closure": (P, P, String, c.c_int, _OUT),
    "store_copy": (P, P, P, String, _OUT),
    "store_valid_paths": (P, P, _OUT),
    "paths_count": (c.c_size_t, P),
    "paths_at": (String, P, c.c_size_t),
    "paths_free": (None, P),
    "build_start": (P, P, P, c.POINTER(String), c.c_size_t, _OUT),
    "build_free": (None, P),
    "build_next_event": (c.c_bool, P, c.c_int64, c.POINTER(Event)),
    "build_descriptor": (c.c_int, P),
    "build_cancel": (None, P),
    "build_wait": (P, P),
    "build_output": (c.c_bool, P, c.c_size_t, c.POINTER(Output)),
}


def _find() -> str:
    named = os.environ.get("NIXLANG_LIBRARY")
    if named:
        return named
    beside = Path(__file__).parent / "libnixlang.so"
    return str(beside) if beside.exists() else "libnixlang.so"


class Library:
    """The functions of libnixlang without their prefix, with their prototypes. It is loaded when one is first used, so that importing the package is not enough
    to have it in the process."""

    def _load(self) -> None:
        library = c.CDLL(_find())
        for name, (result, *arguments) in _PROTOTYPES.items():
            function = getattr(library, f"nixlang_{name}")
            function.restype, function.argtypes = result, arguments
            self.__dict__[name] = function
        if self.abi_version() < 1:
            raise ImportError("libnixlang is too old for this package")

    def __getattr__(self, name: str) -> Any:
        if "abi_version" not in self.__dict__:
            self._load()
            return getattr(self, name)
        raise AttributeError(f"libnixlang has no function nixlang_{name} that this package knows")


lib = Library()
