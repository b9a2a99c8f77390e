"""An application that its users configure in Nix: with a value of the application, and with limits, since users make mistakes."""

import nixlang

engine = nixlang.Engine(nixlang.Config({"pure-eval": "true"}))
engine.add_builtin("cpus", 4)
limits = nixlang.Budget(heap_bytes=64 << 20, time_ms=1000)
settings = engine.evaluate('{ port = 8000 + 80; workers = cpus * 2; greeting = "hello, ${builtins.toString cpus} processors"; }', budget=limits).python(limits)
print("port {port}, {workers} workers: {greeting}".format(**settings))
