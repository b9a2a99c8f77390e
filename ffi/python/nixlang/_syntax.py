"""Lossless syntax trees."""

from __future__ import annotations

import ctypes as c
from collections.abc import Iterator

from . import _library
from ._error import Handle
from ._library import String, lib
from ._value import out


class Node:
    """A node or token of a tree."""

    def __init__(self, tree: "Tree", node: _library.Node) -> None:
        self._tree, self._node = tree, node

    @property
    def kind(self) -> str:
        """A stable word for what it is, such as `apply` or `ident`."""
        return str(lib.node_kind(self._node).text())

    @property
    def text(self) -> str:
        """Its bytes of the source, comments and blanks included."""
        return str(lib.node_text(self._node).text())

    @property
    def start(self) -> int:
        """Where it begins, in bytes."""
        return int(lib.node_start(self._node))

    @property
    def is_token(self) -> bool:
        """Whether it is a token, which has no children."""
        return bool(lib.node_is_token(self._node))

    def __iter__(self) -> Iterator["Node"]:
        """Iterates over the children."""
        child = lib.node_first_child(self._node)
        while not lib.node_is_null(child):
            yield Node(self._tree, child)
            child = lib.node_next_sibling(child)

    def walk(self) -> Iterator["Node"]:
        """Iterates over this and everything below, in the order of the text."""
        yield self
        for child in self:
            yield from child.walk()

    def __repr__(self) -> str:
        return f"<nixlang.Node {self.kind} {self.text!r}>"


class Tree(Handle):
    """A tree whose text equals the source, whatever that is."""

    _free = "tree_free"

    def __init__(self, text: str) -> None:
        super().__init__(out(lib.parse, String.of(text)))

    @property
    def root(self) -> Node:
        """The node of the whole text."""
        return Node(self, lib.tree_root(self._handle))

    @property
    def errors(self) -> list[tuple[int, str]]:
        """What is wrong, with its place in bytes."""
        found: list[tuple[int, str]] = []
        error = _library.SyntaxErrorAt()
        while lib.tree_error(self._handle, len(found), c.byref(error)):
            found.append((error.start, error.message.text()))
        return found
