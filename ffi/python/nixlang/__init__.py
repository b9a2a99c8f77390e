"""Nix as a library: evaluate expressions, add builtins, limit what they use, walk syntax trees, use stores, build.

>>> import nixlang
>>> nixlang.Engine().evaluate("{ answer = 6 * 7; }")["answer"].python()
42
"""

from ._engine import Budget, Cancel, Config, Engine
from ._error import (
    BuildError, Cancelled, EvaluationError, Frame, HeapLimit, Limit, MissingAttribute, NixError, Place, StepLimit, StoreError, SyntaxError, Thrown,
    TimeLimit,
)
from ._store import Build, BuildEvent, CustomStore, Store, StoreInfo
from ._syntax import Node, Tree
from ._value import Reference, Value

__all__ = [
    "Budget", "Build", "BuildError", "BuildEvent", "Cancel", "Cancelled", "Config", "CustomStore", "Engine", "EvaluationError", "Frame", "HeapLimit", "Limit",
    "MissingAttribute", "NixError", "Node", "Place", "Reference", "StepLimit", "Store", "StoreError", "StoreInfo", "SyntaxError", "Thrown", "TimeLimit", "Tree", "Value",
]
