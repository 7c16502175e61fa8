"""Makes a failing plan small: leaves out steps, faults and chances as long as the same promise is still broken.

Delta debugging (Zeller and Hildebrandt, *Simplifying and Isolating Failure-Inducing Input*, 2002), in its plain form.
"""

from __future__ import annotations

from collections.abc import Callable

from .plan import Plan
from .play import Played, play

#: worlds that are played at most to make one smaller
MOST_TRIES = 250


class Shrinker:
    """Remembers the smallest plan that still fails."""

    def __init__(self, plan: Plan, played: Played) -> None:
        self.plan = plan
        self.played = played
        self._promise = played.promise
        self._tries = 0

    def shrink(self) -> Plan:
        """The smallest plan that was found."""
        before = -1
        while before != self._tries and self._tries < MOST_TRIES:
            before = self._tries
            size = self._size()
            self._reduce(lambda: [f.number for f in self.plan.faults], self._with_faults)
            self._reduce(lambda: [s.number for s in self.plan.steps], self._with_steps)
            for chance in self.plan.chances():
                self._attempt(self.plan.only(self._steps(), self._faults(), (chance,)))
            if self._size() == size:
                break
        return self.plan

    def _reduce(self, items: Callable[[], list[int]], plan_with: Callable[[list[int]], Plan]) -> None:
        width = max(1, len(items()) // 2)
        while width:
            start = 0
            while start < len(items()):
                kept = items()[:start] + items()[start + width:]
                if not self._attempt(plan_with(kept)):
                    start += width
            width //= 2

    def _attempt(self, plan: Plan) -> bool:
        if self._tries >= MOST_TRIES:
            return False
        self._tries += 1
        played = play(plan)
        if played.promise != self._promise:
            return False
        self.plan, self.played = plan, played
        return True

    def _with_faults(self, numbers: list[int]) -> Plan:
        return self.plan.only(self._steps(), tuple(numbers))

    def _with_steps(self, numbers: list[int]) -> Plan:
        return self.plan.only(tuple(numbers), self._faults())

    def _steps(self) -> tuple[int, ...]:
        return tuple(step.number for step in self.plan.steps)

    def _faults(self) -> tuple[int, ...]:
        return tuple(fault.number for fault in self.plan.faults)

    def _size(self) -> int:
        return len(self.plan.steps) + len(self.plan.faults) + len(self.plan.chances())
