"""Playing seeds: one, a range, in several processes; and saying what was seen."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from .clock import LANE, all_tasks
from .plan import Plan, plan_of
from .world import World

#: events shown with a violation
SHOWN_EVENTS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """How a seed went."""

    seed: int
    #: the number of the promise that was broken; empty: none
    promise: str = ""
    violation: str = ""
    faults: dict[str, int] = field(default_factory=dict)
    #: requests that models were asked, rows that the store acknowledged
    requests: int = 0
    commits: int = 0
    #: the events in words: the last ones, or all
    events: tuple[str, ...] = ()


def play(plan: Plan, *, whole: bool = False) -> Played:
    """Run one plan. `whole`: keep all events, not only the last ones."""
    world = World(plan, whole_trace=whole)
    with _alone():
        world.run()
    violation = world.violation
    kept = whole or violation is not None
    return Played(
        seed=plan.seed, promise=violation.promise if violation else "", violation=str(violation) if violation else "",
        faults=dict(sorted(world.trace.faults.items())), requests=world.auditor.requests,
        commits=len(world.auditor.acknowledged), events=tuple(world.trace.lines()) if kept else (),
    )


def play_seed(seed: int) -> Played:
    """Run a seed."""
    return play(plan_of(seed))


def play_all(seeds: Iterable[int], *, jobs: int = 1) -> Iterator[Played]:
    """Run seeds, in `jobs` processes; the results come in the order of the seeds."""
    if jobs == 1:
        yield from map(play_seed, seeds)
        return
    numbers = iter(seeds)
    with ProcessPoolExecutor(jobs) as pool:
        while batch := list(islice(numbers, 64 * jobs)):
            yield from pool.map(play_seed, batch, chunksize=8)


def digest(played: Played) -> str:
    """A number of all that was seen: the same for the same seed, in every process and on every machine."""
    return hashlib.sha256("\n".join([played.violation, *played.events]).encode()).hexdigest()


def summed(results: Iterable[Played]) -> Counter[str]:
    """Faults by kind, over several seeds."""
    counts: Counter[str] = Counter()
    for played in results:
        counts.update(played.faults)
    return counts


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """While a world runs: nothing is logged, and a process sees only its own tasks."""
    def own_tasks(loop: Any = None) -> Any:
        return {task for task in all_tasks(loop) if getattr(task, "lane", None) is LANE.get()}

    disabled = logging.root.manager.disable
    asyncio.all_tasks = own_tasks
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        asyncio.all_tasks = all_tasks
        logging.disable(disabled)
