"""Numbers with their spread: percentiles of one run, and ratios of two subjects measured in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """What several rounds have shown: the smallest, the middle and the largest value."""

    low: float
    middle: float
    high: float

    def text(self, digits: int = 3) -> str:
        """For a table: `middle (low-high)`, each with `digits` significant digits."""
        if self.low == self.high:
            return significant(self.middle, digits)
        return f"{significant(self.middle, digits)} ({significant(self.low, digits)}–{significant(self.high, digits)})"


def significant(value: float, digits: int = 3) -> str:
    """`value` with so many significant digits, never in exponent form."""
    if value == 0:
        return "0"
    size = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:.{max(0, digits - max(size, 1))}f}"


def spread(values: Sequence[float]) -> Spread:
    """The spread of `values`; one is enough."""
    return Spread(low=min(values), middle=statistics.median(values), high=max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """The spread of ours / theirs, round by round: what both share (a slow minute of the machine) drops out."""
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of `values` that at least `percent` of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


async def each_ms(call: Callable[[int], Awaitable[object]], times: int) -> list[float]:
    """Await `call(0)`, `call(1)`, … one after the other; how long each took, in milliseconds."""
    taken = []
    for number in range(times):
        begun = time.perf_counter()
        await call(number)
        taken.append((time.perf_counter() - begun) * 1e3)
    return taken
