"""Has this op_id ever been used? A Bloom filter over all op_ids of the journal (Bloom, CACM 13(7), 1970).

The index remembers the last 100,000 op_ids. For an older one the journal must be searched, which takes milliseconds;
this says in microseconds that nearly every new op_id needs no search. 1.5 MB a million op_ids; 1 in 300 is searched
in vain.
"""

from __future__ import annotations

import hashlib
from typing import Any

#: op_ids in one filter; when it is full the next one is begun
_CAPACITY = 1_000_000
_BITS = 12 * _CAPACITY
_HASHES = 8


class OpFilter:
    """Says "surely not" or "perhaps"."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._filters: list[bytearray] = []
        self._count = capacity

    def add(self, op_id: str) -> None:
        """This op_id is used."""
        places = _places(op_id)
        if self._count >= self._capacity:
            self._filters.append(bytearray(_BITS // 8))
            self._count = 0
        newest = self._filters[-1]
        for place in places:
            newest[place >> 3] |= 1 << (place & 7)
        self._count += 1

    def __contains__(self, op_id: str) -> bool:
        """False: surely not. True: look."""
        places = _places(op_id)
        return any(all(bits[place >> 3] & 1 << (place & 7) for place in places) for bits in self._filters)

    def pack(self) -> dict[str, Any]:
        """As plain data."""
        return {"capacity": self._capacity, "count": self._count, "filters": [bytes(bits) for bits in self._filters]}

    @staticmethod
    def unpack(data: dict[str, Any]) -> OpFilter:
        """The inverse of `pack`."""
        result = OpFilter(data["capacity"])
        result._count = data["count"]
        result._filters = [bytearray(bits) for bits in data["filters"]]
        return result


def _places(op_id: str) -> list[int]:
    raw = hashlib.blake2b(op_id.encode(), digest_size=16).digest()
    one, two = int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big") | 1
    return [(one + turn * two) % _BITS for turn in range(_HASHES)]
