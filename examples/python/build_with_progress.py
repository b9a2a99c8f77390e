"""Evaluates a derivation into a store of its own, builds it, and shows what happens meanwhile. Run: python3 build_with_progress.py DIRECTORY"""

import sys

import nixlang

store = nixlang.Store(f"local?root={sys.argv[1] if len(sys.argv) > 1 else '/tmp/nixlang-example-store'}")
engine = nixlang.Engine(nixlang.Config(store=store))
derivation = engine.evaluate(
    'derivation { name = "greeting"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo working; echo hello > $out" ]; }'
).derivation()
with store.build(derivation) as build:
    for event in build:
        match event.kind:
            case "started":
                print("started")
            case "log":
                print(f"log: {event.text}")
            case "finished":
                print("failed" if event.failed else "finished")
    for name, path in build.wait().items():
        print(f"{name}: {path[44:]}")
