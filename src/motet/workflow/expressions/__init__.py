"""Expressions: a documented subset of CEL (https://github.com/google/cel-spec), parsed, checked and evaluated here.

The door is `expression.Expression`: `parse`, then `check` against shapes and `evaluate` against data.
"""
