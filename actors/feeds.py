"""What happens in a run, for those who listen: numbered events, read by long polls.

A listener that lost an answer asks again from the last number it has; one that comes too late gets the end. The
journal does not depend on it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from repertory.memory.journal import Row

#: events kept of one run; a listener that is further behind misses the oldest
_MOST = 4_096


class Feed:
    """The events of one run: deltas, messages, and its end."""

    def __init__(self) -> None:
        self._events: deque[dict[str, Any]] = deque(maxlen=_MOST)
        self._count = 0
        self._news = asyncio.Event()
        #: whether somebody wants the pieces of answers that are being written
        self.streamed = False
        #: whether the answer under way has been told in pieces
        self.pieces = False

    def put(self, kind: str, text: str = "", **data: Any) -> None:
        """Something has happened."""
        self._count += 1
        self._events.append({"n": self._count, "kind": kind, "text": text, **data})
        self._news.set()
        self._news = asyncio.Event()

    def piece(self, delta: dict[str, Any]) -> None:
        """A piece of an answer that is being written; `reset`: all pieces of this answer so far are void."""
        kind = {"tool_call": "call"}.get(delta["kind"], delta["kind"])
        if kind in ("text", "reasoning", "call", "reset"):
            self.pieces = True
            self.put(kind, delta.get("text", ""), piece=True, name=delta.get("name", ""), index=delta.get("index", 0))

    def tell(self, row: Row) -> None:
        """A row of the run is in the journal: its messages are facts now."""
        for message in row.data.get("messages", ()):
            if message["role"] == "assistant":
                self._tell_answer(message)
            elif message["role"] == "tool":
                self.put("result", message.get("text", ""), name=message.get("tool_name", ""),
                         failed=message.get("failed", False), call_id=message.get("tool_call_id", ""))
        for text in row.data.get("texts", ()):
            self.put("said", text)

    def _tell_answer(self, message: dict[str, Any]) -> None:
        if not self.pieces:
            if message.get("reasoning"):
                self.put("reasoning", message["reasoning"])
            if message.get("text"):
                self.put("text", message["text"])
        for call in message.get("tool_calls", ()):
            self.put("call", name=call["name"], arguments=call.get("arguments", {}), call_id=call["id"])
        self.pieces = False

    async def after(self, number: int, wait_s: float) -> list[dict[str, Any]]:
        """Events behind `number`; waits at most `wait_s` seconds for the first."""
        if self._count <= number:
            try:
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
            except TimeoutError:
                return []
        return [event for event in self._events if event["n"] > number]
