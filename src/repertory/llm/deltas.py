"""Pieces of answers on their way to whoever listens.

A listener polls: "what came after number n?", and waits a while if there is nothing. So a slow one holds nobody up,
and one that lost a reply asks again. Buffers are bounded; the answer itself never depends on them.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from typing import Any

from repertory.llm.protocol import Delta

#: entries kept of one answer; a reader that is further behind gets a `gap`
_MOST = 8_192


class DeltaBuffer:
    """The numbered deltas of one request."""

    def __init__(self) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=_MOST)
        self._count = 0
        self._news = asyncio.Event()
        self.ended = False
        #: in loop time: when someone last wrote or read
        self.touched = asyncio.get_running_loop().time()

    def add(self, delta: Delta) -> None:
        """A piece of the answer."""
        self._put({key: value for key, value in dataclasses.asdict(delta).items() if value != "" or key == "text"})

    def reset(self) -> None:
        """The try that these pieces came from has failed; all of them are void, a new try starts."""
        if self._count and self._entries[-1]["kind"] != "reset":
            self._put({"kind": "reset"})

    def reopen(self) -> None:
        """The same request is asked again after it had failed."""
        if self.ended:
            self.ended = False
            self._put({"kind": "reset"})

    def end(self) -> None:
        """Nothing more will come: the answer is there, or has failed for good."""
        if not self.ended:
            self.ended = True
            self._put({"kind": "end"})

    async def after(self, number: int, wait_s: float) -> list[dict[str, Any]]:
        """Entries behind `number`, oldest first; waits at most `wait_s` for the first. Empty: nothing came."""
        self.touched = asyncio.get_running_loop().time()
        if self._count <= number and not self.ended:
            try:
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
            except TimeoutError:
                return []
        lost = self._count - len(self._entries)
        gap = [{"n": lost, "kind": "gap"}] if number < lost else []
        return gap + [entry for entry in self._entries if entry["n"] > number]

    def _put(self, entry: dict[str, Any]) -> None:
        self._count += 1
        self._entries.append({"n": self._count, **entry})
        self.touched = asyncio.get_running_loop().time()
        news, self._news = self._news, asyncio.Event()
        news.set()
