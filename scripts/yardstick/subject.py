"""What can be measured: something that has agents and takes messages for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from yardstick.timing import percentile

Send = Callable[[int, str], Awaitable[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Crowd:
    """What many agents at once have done."""

    messages_per_s: float
    p50_ms: float
    p99_ms: float


class Subject(Protocol):
    """A system under measurement."""

    @property
    def name(self) -> str:
        """As it stands in tables."""

    async def send(self, number: int, text: str) -> None:
        """One message to its agent `number`, and the answer."""

    async def at_once(self, agents: int, each: int) -> Crowd:
        """`agents` at once, each with `each` messages one after the other."""


async def crowd(send: Send, agents: int, each: int) -> Crowd:
    """Let `agents` work at once; each sends `each` messages, the next when the one before was answered."""
    taken: list[float] = []

    async def one(number: int) -> None:
        for index in range(each):
            begun = time.perf_counter()
            await send(number, f"hello number {index}")
            taken.append((time.perf_counter() - begun) * 1e3)

    begun = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(agents)))
    seconds = time.perf_counter() - begun
    return Crowd(messages_per_s=agents * each / seconds, p50_ms=percentile(taken, 50), p99_ms=percentile(taken, 99))
