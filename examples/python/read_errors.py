"""An error is an exception with a place, the way to it, and names that may have been meant. Run: python3 read_errors.py"""

import nixlang

try:
    nixlang.Engine().evaluate('let paint = set: set.color; in builtins.seq 1 (paint { colour = "red"; })')
except nixlang.MissingAttribute as failed:
    print(f"code {failed.code}: {failed.message}")
    print(f"at {failed.place}")
    print(f"meant: {failed.suggestions[0]}")
    for frame in failed.trace:
        print(frame.message)
