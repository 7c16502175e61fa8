"""What happened in a simulated run, in words, and how often each kind of fault was injected."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

#: events kept when nobody asked for the whole trace: enough to see how a violation came about
LAST_EVENTS = 400


class Violation(Exception):
    """A promise was broken; `promise` is its number in DESIGN 1 (`P1` … `P8`), or `bug` for an internal error."""

    def __init__(self, promise: str, what: str) -> None:
        self.promise = promise
        self.what = what
        super().__init__(f"{promise}: {what}")


class Trace:
    """Events in order of (virtual) time. Texts are only put together when somebody reads them."""

    def __init__(self, now: Callable[[], float], *, whole: bool = False) -> None:
        self._now = now
        self._events: deque[tuple[float, str, str, tuple[Any, ...]]] = deque(maxlen=None if whole else LAST_EVENTS)
        self.faults: Counter[str] = Counter()

    def note(self, who: str, what: str, *values: Any) -> None:
        """`who` did `what` (a %-format for `values`, which must not change later)."""
        self._events.append((self._now(), who, what, values))

    def fault(self, kind: str, who: str, what: str, *values: Any) -> None:
        """Something was made to go wrong on purpose."""
        self.faults[kind] += 1
        self._events.append((self._now(), who, "FAULT " + what, values))

    def lines(self, last: int | None = None) -> Iterable[str]:
        """The events as text, oldest first; only the `last` ones if that is given."""
        events = list(self._events)
        for at, who, what, values in events if last is None else events[-last:]:
            yield f"{at:12.6f} {who:<14} {what % values if values else what}"
