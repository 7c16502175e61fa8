"""The one place where a value becomes part of a LanceDB filter, which is a piece of SQL."""

from __future__ import annotations


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
