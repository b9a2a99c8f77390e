builtins.sort (a: b: a) [ 3 1 2 ]
