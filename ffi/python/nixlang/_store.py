"""Stores, stores of the host, and builds."""

from __future__ import annotations

import ctypes as c
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from . import _library
from ._error import Handle, check, take
from ._library import String, lib
from ._value import out

if TYPE_CHECKING:
    from ._engine import Config

_KINDS = ["", "started", "waiting", "log", "phase", "finished", "progress", "end"]


@dataclass(frozen=True)
class BuildEvent:
    """Something that happened in a build: kind is `started`, `waiting`, `log`, `phase`, `finished`, `progress` or `end`."""

    kind: str
    derivation: str
    text: str
    done: int
    total: int
    running: int
    failed: int


class Build(Handle):
    """Builds that run in the background. Iterating gives their events until the end."""

    _free = "build_free"

    def fileno(self) -> int:
        """A descriptor that is readable while events wait, for `select` and its like."""
        return int(lib.build_descriptor(self._handle))

    def cancel(self) -> None:
        """Stops the builders."""
        lib.build_cancel(self._handle)

    def next_event(self, timeout_ms: int = -1) -> BuildEvent | None:
        """Returns the next event, or None if there is none in time."""
        event = _library.Event()
        if not lib.build_next_event(self._handle, timeout_ms, c.byref(event)):
            return None
        return BuildEvent(_KINDS[event.kind], event.derivation.text(), event.text.text(), event.done, event.total, event.running, event.failed)

    def __iter__(self) -> Iterator[BuildEvent]:
        while event := self.next_event():
            yield event

    def wait(self) -> dict[str, str]:
        """Waits for the end, raises if something failed, and returns the outputs' paths by name."""
        check(lib.build_wait(self._handle))
        outputs: dict[str, str] = {}
        output, index = _library.Output(), 0
        while lib.build_output(self._handle, index, c.byref(output)):
            outputs[output.name.text()] = output.path.text()
            index += 1
        return outputs


def _paths(handle: int) -> list[str]:
    found = [lib.paths_at(handle, index).text() for index in range(lib.paths_count(handle))]
    lib.paths_free(handle)
    return found


class StoreInfo(TypedDict, total=False):
    """What is known of a path. A store of the host must give the first two."""

    nar_hash: str
    nar_size: int
    references: list[str]
    deriver: str | None
    signatures: list[str]


class CustomStore(Protocol):
    """What `Store.custom` makes a store of. It may have `add_nar(path, info, nar)`, to keep paths, and `valid_paths()`, which returns all, as well.
    Several threads may call it at once."""

    def query(self, path: str) -> StoreInfo | None:
        """Returns what is known of a path, None if it is not there."""

    def write_nar(self, path: str) -> bytes:
        """Returns the NAR of a path."""


class Store(Handle):
    """A store, by its address, such as `local?root=/somewhere` or `dummy://`."""

    _free = "store_free"

    def __init__(self, address: str = "", config: "Config | None" = None) -> None:
        super().__init__(out(lib.store_open, String.of(address), config._handle if config else None))

    @classmethod
    def custom(cls, store: CustomStore, address: str = "custom", directory: str = "") -> "Store":
        """Makes a store of an object, with an address for messages and a directory of paths (empty: /nix/store)."""
        from ._engine import _drop, keep

        def guarded(body: Any) -> Any:
            def run(*arguments: Any) -> int | None:
                try:
                    body(*arguments)
                    return None
                except BaseException as failed:
                    return int(lib.error_new(19, String.of(f"{type(failed).__name__}: {failed}")))

            return run

        def strings(texts: Any) -> tuple[Any, list[bytes]]:
            encoded = [text.encode() for text in texts]
            array = (String * max(len(encoded), 1))()
            for i, text in enumerate(encoded):
                array[i] = String(c.cast(c.c_char_p(text), c.c_void_p), len(text))
            return array, encoded

        def query(_: int, path: String, found: Any, found_data: int) -> None:
            info = store.query(path.text())
            if info is None:
                return
            references, kept = strings(info.get("references", []))
            signatures, also_kept = strings(info.get("signatures", []))
            stored = _library.Stored(String.of(info["nar_hash"]), info["nar_size"], references, len(kept), String.of(info.get("deriver") or ""), signatures, len(also_kept))
            texts = (info["nar_hash"].encode(), (info.get("deriver") or "").encode())
            stored.nar_hash = String(c.cast(c.c_char_p(texts[0]), c.c_void_p), len(texts[0]))
            stored.deriver = String(c.cast(c.c_char_p(texts[1]), c.c_void_p), len(texts[1]))
            found(found_data, c.byref(stored))

        def write_nar(_: int, path: String, sink: Any, sink_data: int) -> None:
            nar = store.write_nar(path.text())
            sink(sink_data, c.cast(c.c_char_p(nar), c.c_void_p), len(nar))

        def add_nar(_: int, path: String, info: Any, nar: String) -> None:
            it = info.contents
            described = {
                "nar_hash": it.nar_hash.text(), "nar_size": it.nar_size, "deriver": it.deriver.text() or None,
                "references": [it.references[i].text() for i in range(it.n_references)], "signatures": [it.signatures[i].text() for i in range(it.n_signatures)],
            }
            getattr(store, "add_nar")(path.text(), described, nar.bytes())

        def valid_paths(_: int, add: Any, add_data: int) -> None:
            for path in getattr(store, "valid_paths")():
                add(add_data, String.of(path))

        functions = _library.StoreFunctions(
            c.sizeof(_library.StoreFunctions), _library.Query(guarded(query)), _library.WriteNar(guarded(write_nar)),
            _library.AddNar(guarded(add_nar)) if hasattr(store, "add_nar") else _library.AddNar(),
            _library.ValidPaths(guarded(valid_paths)) if hasattr(store, "valid_paths") else _library.ValidPaths(),
        )
        made = cls.__new__(cls)
        Handle.__init__(made, out(lib.store_new, c.byref(functions), String.of(address), String.of(directory), keep(functions, store), _drop))
        return made

    @property
    def directory(self) -> str:
        """The directory that its paths begin with, `/nix/store` as a rule."""
        return str(lib.store_directory(self._handle).text())

    @property
    def address(self) -> str:
        """Its address with all parameters."""
        return str(lib.store_address(self._handle).text())

    def info(self, path: str) -> StoreInfo | None:
        """Returns what is known of a path, None if it is not valid."""
        handle = out(lib.store_path_info, self._handle, String.of(path))
        if not handle:
            return None

        def listed(get: Any) -> list[str]:
            found: list[str] = []
            while text := get(handle, len(found)).text():
                found.append(text)
            return found

        try:
            return {
                "nar_hash": lib.path_info_nar_hash(handle).text(), "nar_size": lib.path_info_nar_size(handle), "deriver": lib.path_info_deriver(handle).text() or None,
                "references": listed(lib.path_info_reference), "signatures": listed(lib.path_info_signature),
            }
        finally:
            lib.path_info_free(handle)

    def __contains__(self, path: str) -> bool:
        result = c.c_bool()
        check(lib.store_is_valid(self._handle, String.of(path), c.byref(result)))
        return bool(result.value)

    def __iter__(self) -> Iterator[str]:
        """Iterates over all valid paths."""
        return iter(_paths(out(lib.store_valid_paths, self._handle)))

    def add(self, name: str, contents: str | bytes) -> str:
        """Adds a file and returns its path."""
        result = _library.Bytes()
        check(lib.store_add_bytes(self._handle, String.of(name), String.of(contents), c.byref(result)))
        return take(result)

    def closure(self, path: str) -> list[str]:
        """Returns a path and everything that it refers to."""
        return _paths(out(lib.store_closure, self._handle, String.of(path), 0))

    def copy_to(self, other: "Store", path: str) -> list[str]:
        """Copies a path with everything that it refers to, and returns what was copied."""
        return _paths(out(lib.store_copy, self._handle, other._handle, String.of(path)))

    def build(self, *paths: str, config: "Config | None" = None) -> Build:
        """Starts to build `….drv`, `….drv^out` or what must be there."""
        encoded = [path.encode() for path in paths]
        wanted = (String * max(len(encoded), 1))()
        for i, path in enumerate(encoded):
            wanted[i] = String(c.cast(c.c_char_p(path), c.c_void_p), len(path))
        return Build(out(lib.build_start, self._handle, config._handle if config else None, wanted, len(encoded)))
