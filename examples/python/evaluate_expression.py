"""A string in, JSON out. Run: python3 evaluate_expression.py, with the package installed or on PYTHONPATH."""

import nixlang

print(nixlang.Engine().evaluate("{ answer = 6 * 7; }").to_json())
