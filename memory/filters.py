"""The one place where a value becomes part of a LanceDB filter, which is a piece of SQL."""

from __future__ import annotations

from collections.abc import Iterable


def literal(value: str | int | float) -> str:
    """`value` as an SQL literal that cannot end early: quotes are doubled, nothing else is special.

    Raises ValueError for a text with a NUL, which no filter can carry.
    """
    if isinstance(value, bool) or not isinstance(value, str):
        return repr(value)
    if "\0" in value:
        raise ValueError(f"a filter cannot carry a NUL: {value!r}")
    return "'" + value.replace("'", "''") + "'"


def equals(column: str, value: str | int | float) -> str:
    """`column = value`; `column` is ours, `value` may be anybody's."""
    return f"{column} = {literal(value)}"


def among(column: str, values: Iterable[str | int | float]) -> str:
    """`column` is one of `values`, of which there must be one."""
    return f"{column} IN ({', '.join(map(literal, values))})"


def has_any(column: str, values: Iterable[str]) -> str:
    """The list in `column` has one of `values`."""
    return f"array_has_any({column}, [{', '.join(map(literal, values))}])"


def has_all(column: str, values: Iterable[str]) -> str:
    """The list in `column` has all of `values`."""
    return f"array_has_all({column}, [{', '.join(map(literal, values))}])"
