"""How much may be asked of a provider in a minute: by one gateway, or by many that share a key.

Where every node has a gateway, the first one keeps the budgets of all keys, and each of the others leases small
portions of them in advance; so N nodes together stay within the limit, and most requests need no word with the first.
What a gateway leased and did not use is lost after a while: the limit is then not used up, never exceeded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from repertory.llm.settings import ProviderSettings

_MINUTE_S = 60.0
#: a lease covers about this much of a gateway's use
_PORTION_S = 1.0
#: what was leased and not used for so long is given up
_KEEP_S = 10.0

#: (name of a budget, units wanted) -> (units granted, seconds until there may be more)
Lease = Callable[[str, float], Awaitable[tuple[float, float]]]


class Budget(Protocol):
    """So many units a minute."""

    async def wait_s(self, units: float) -> float:
        """How long until `units` are there; 0: now. More than a minute's worth counts as a minute's worth."""

    def take(self, units: float) -> None:
        """Use them; the level may go below zero, then later requests wait longer. Negative units give back."""


class OwnBudget:
    """A budget that is kept here: a token bucket that holds at most a minute's worth."""

    def __init__(self, per_minute: float) -> None:
        self._per_minute = per_minute
        self._level = per_minute
        self._at: float | None = None

    async def wait_s(self, units: float) -> float:
        """See `Budget`."""
        return self.missing_s(units)

    def missing_s(self, units: float) -> float:
        """The same, without waiting to be told."""
        return max(0.0, (min(units, self._per_minute) - self.level()) * _MINUTE_S / self._per_minute)

    def take(self, units: float) -> None:
        """See `Budget`."""
        self._level = min(self._per_minute, self.level() - units)

    def lease(self, units: float) -> tuple[float, float]:
        """Hand out up to `units`. Returns what was granted, and in how many seconds the rest would be there."""
        granted = min(units, max(0.0, self.level()))
        self.take(granted)
        return granted, self.missing_s(units - granted)

    def level(self) -> float:
        """Units that are there now."""
        now = asyncio.get_running_loop().time()
        if self._at is not None:
            self._level = min(self._per_minute, self._level + (now - self._at) * self._per_minute / _MINUTE_S)
        self._at = now
        return self._level


class LeasedBudget:
    """A gateway's part of a budget that the first gateway keeps."""

    def __init__(self, name: str, per_minute: float, lease: Lease) -> None:
        self._name = name
        self._per_minute = per_minute
        self._lease = lease
        self._left = 0.0
        self._until = 0.0

    async def wait_s(self, units: float) -> float:
        """See `Budget`; asks for more when its portion does not suffice."""
        units = min(units, self._per_minute)
        loop = asyncio.get_running_loop()
        if loop.time() > self._until:
            self._left = min(self._left, 0.0)
        if self._left >= units:
            return 0.0
        portion = self._per_minute * _PORTION_S / _MINUTE_S
        granted, wait_s = await self._lease(self._name, max(units - self._left, portion))
        self._left += granted
        self._until = loop.time() + _KEEP_S
        return 0.0 if self._left >= units else max(wait_s, 0.001)

    def take(self, units: float) -> None:
        """See `Budget`."""
        self._left -= units


def limits_of(settings: ProviderSettings) -> dict[str, float]:
    """The budgets that a provider has, in units a minute."""
    limits = {"requests": settings.requests_per_minute, "tokens": settings.tokens_per_minute}
    return {what: per_minute for what, per_minute in limits.items() if per_minute is not None}


def budgets_of(provider: str, settings: ProviderSettings, lease: Lease | None) -> dict[str, Budget]:
    """A gateway's budgets for a provider: leased, or its own."""
    return {
        what: OwnBudget(per_minute) if lease is None else LeasedBudget(f"{provider}/{what}", per_minute, lease)
        for what, per_minute in limits_of(settings).items()
    }
