"""A Python function, called from Nix. Run: python3 add_builtin.py"""

import nixlang

engine = nixlang.Engine()
n_calls = 0


@engine.builtin
def shout(text):
    global n_calls
    n_calls += 1
    return str(text).upper()


print(engine.evaluate('builtins.concatStringsSep " " (map shout [ "hello" "from" "the" "host" ])'))
print(f"called {n_calls} times")
