"""From an older format to this one: each step is a pure function on one row, from version v to v + 1.

A step gets a row as plain values (stream, kind, author, epoch, op_id, at, data) and returns it as the next version has
it. Steps are never changed once they were released: databases of every age go through them. Format 1 is the first
that was released, so there is none yet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from repertory.errors import StorageError
from repertory.memory.journal import FORMAT, Row

Values = dict[str, Any]
Step = Callable[[Values], Values]

#: version -> the step that leads away from it
STEPS: Mapping[int, Step] = {}


def steps_from(version: int, steps: Mapping[int, Step] = STEPS) -> list[Step]:
    """The steps from `version` to this program's format. Raises StorageError when there is no way."""
    if version > FORMAT:
        raise StorageError(f"the database has format {version}, and this program knows none above {FORMAT}: "
                           "use the release that made it, or a newer one", format=version)
    missing = [v for v in range(version, FORMAT) if v not in steps]
    if missing:
        raise StorageError(f"this program cannot bring format {missing[0]} to {missing[0] + 1}", format=version)
    return [steps[v] for v in range(version, FORMAT)]


def upgraded(row: Row, steps: list[Step]) -> Row:
    """The row after all steps; its seq stays."""
    values = {field.name: getattr(row, field.name) for field in dataclasses.fields(row) if field.name != "seq"}
    for step in steps:
        values = step(values)
    return Row(seq=row.seq, **values)
