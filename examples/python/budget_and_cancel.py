"""Expressions that never end, or want all memory, and an engine that works afterwards. Run: python3 budget_and_cancel.py"""

import threading

import nixlang
from nixlang import Budget, Cancel

FOREVER = "let many = builtins.genList (n: n) 3000; each = f: all: builtins.foldl' f all many; in each (a: x: each (b: y: each (c: z: c + 1) b) a) 0"
NAMES = {nixlang.StepLimit: "step limit", nixlang.HeapLimit: "memory limit", nixlang.TimeLimit: "time limit", nixlang.Cancelled: "cancelled"}
engine = nixlang.Engine()


def show(text, budget):
    try:
        engine.evaluate(text, budget=budget)
        print("not stopped")
    except nixlang.Limit as failed:
        print("stopped:", NAMES[type(failed)])


show(FOREVER, Budget(steps=100_000))
show("builtins.foldl' (all: n: all ++ [ n ]) [] (builtins.genList (n: n) 1000000)", Budget(heap_bytes=64 << 20))
show(FOREVER, Budget(time_ms=50))
cancel = Cancel()
threading.Timer(0.05, cancel.fire).start()
show(FOREVER, Budget(cancel=cancel))
print("still works:", int(engine.evaluate("1 + 1")))
