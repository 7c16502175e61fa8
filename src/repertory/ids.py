"""Identifiers: `<prefix>-<uuid>`, as in the Letta API (SURFACE, section 1).

New ones come from an `IdSource`, so that a simulation can seed them. What must be the same when a turn is carried
out twice (the id of a message that a resumed turn writes again) is *derived* from an op_id instead.
"""

from __future__ import annotations

import random
import uuid
from typing import Literal

Prefix = Literal["agent", "message", "run", "block", "conv", "passage", "db", "turn", "client"]

_NAMESPACE = uuid.UUID("5bd3ad48-73a5-4c43-8a2f-3f1a1a52f0f5")


class IdSource:
    """Makes new ids; seeded ones repeat from run to run."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.SystemRandom() if seed is None else random.Random(seed)

    def new(self, prefix: Prefix) -> str:
        """A fresh id, for example `agent-8d2b…` (36 characters of UUID version 4 behind the prefix)."""
        return f"{prefix}-{uuid.UUID(int=self._random.getrandbits(128), version=4)}"


def derived(prefix: Prefix, *parts: object) -> str:
    """The id that follows from `parts`: the same parts give the same id, for ever, on every machine."""
    name = "/".join(str(part) for part in parts)
    raw = uuid.uuid5(_NAMESPACE, name)
    return f"{prefix}-{uuid.UUID(bytes=raw.bytes, version=4)}"
