"""How hard a provider may be driven: concurrency, rates, pauses that it asked for, and a circuit breaker.

A provider that is down is left alone: after some failures in a row one request at a time probes it and the others
wait, instead of all of them hammering it or all of them failing at once (Nygard, Release It!, "Circuit Breaker").
All clocks are the event loop's, so that a simulation can turn them.
"""

from __future__ import annotations

import asyncio

from repertory.errors import ModelUnavailable, RateLimited
from repertory.llm.budgets import Lease, OwnBudget, budgets_of
from repertory.llm.settings import Patience, ProviderSettings


class Breaker:
    """Remembers whether a provider is up."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failures = 0
        self._open_s = patience.open_s
        self._open_until = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether requests are held back."""
        return self._failures >= self._patience.failures_to_open

    def wait_s(self) -> float:
        """How long a request should wait before it asks again; 0: it may go (and counts as the probe)."""
        if not self.is_open:
            return 0.0
        left = self._open_until - asyncio.get_running_loop().time()
        if left > 0:
            return left
        if self._probing:
            return self._patience.open_s
        self._probing = True
        return 0.0

    def succeeded(self) -> None:
        """The provider answered (an answer, or a refusal of this one request)."""
        self._failures = 0
        self._probing = False
        self._open_s = self._patience.open_s

    def failed(self) -> None:
        """The provider did not answer, or with an error of its own."""
        self._failures += 1
        if not self.is_open:
            return
        self._open_until = asyncio.get_running_loop().time() + self._open_s
        if self._probing:
            self._open_s = min(self._open_s * 2, self._patience.open_most_s)
        self._probing = False

    def abandoned(self) -> None:
        """The request was cancelled: nothing is known."""
        self._probing = False


class Limits:
    """All limits of one provider."""

    def __init__(
        self, provider: str, settings: ProviderSettings, patience: Patience, lease: Lease | None = None
    ) -> None:
        """`lease`: where the budgets of the key are kept, if that is another gateway."""
        self._provider = provider
        self.slots = asyncio.Semaphore(settings.max_concurrent)
        self.breaker = Breaker(patience)
        self._wait_open_s = patience.wait_open_s
        self._budgets = budgets_of(provider, settings, lease)
        self._pause_until = 0.0

    async def admit(self, tokens: float, deadline: float) -> None:
        """Wait until a request of about `tokens` may be sent.

        Args:
            tokens: an estimate of what the request will cost.
            deadline: in loop time; a wait beyond it is refused at once.

        Raises:
            RateLimited: our own limit, or a pause that the provider asked for, lasts beyond the deadline.
            ModelUnavailable: the provider has been away for too long.
        """
        loop = asyncio.get_running_loop()
        give_up = min(deadline, loop.time() + self._wait_open_s)
        while True:
            now = loop.time()
            pause_s = self._pause_until - now
            for what, budget in self._budgets.items():
                pause_s = max(pause_s, await budget.wait_s(1.0 if what == "requests" else tokens))
            if pause_s > 0:
                if now + pause_s > deadline:
                    raise RateLimited(
                        f"The rate limit of {self._provider} leaves no room before the deadline.", retry_after_s=pause_s
                    )
                await asyncio.sleep(pause_s)
                continue
            open_s = self.breaker.wait_s()
            if open_s == 0:
                break
            if now >= give_up:
                raise ModelUnavailable(
                    f"{self._provider} has failed again and again and is left alone for a while.",
                    given_up=True,
                    retry_after_s=open_s,
                )
            await asyncio.sleep(min(open_s, max(give_up - now, 0.001)))
        for what, budget in self._budgets.items():
            budget.take(1.0 if what == "requests" else tokens)

    def lease(self, what: str, units: float) -> tuple[float, float]:
        """Hand out a part of a budget that is kept here; see `OwnBudget.lease`."""
        budget = self._budgets[what]
        assert isinstance(budget, OwnBudget)
        return budget.lease(units)

    def pause(self, seconds: float) -> None:
        """The provider asked for quiet: nobody sends anything for that long."""
        self._pause_until = max(self._pause_until, asyncio.get_running_loop().time() + seconds)

    def settle(self, estimated: float, used: float) -> None:
        """Correct the estimate of `admit` by what was really used."""
        if "tokens" in self._budgets:
            self._budgets["tokens"].take(used - estimated)
