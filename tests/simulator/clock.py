"""An asyncio event loop with a virtual clock: when nothing is ready, time jumps to the next timer.

Every callback belongs to the *lane* (simulated process) that scheduled it. Within a lane callbacks keep asyncio's
order; between lanes the seed decides who goes first. A dead lane never runs again, not even its `finally`s; a paused
one resumes where it stood. Tasks and futures hash by their number, so that sets of them iterate alike in every run.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import inspect
import random
from asyncio import all_tasks  # this one, also while `play` shows each process only its own tasks
from collections.abc import Callable, Coroutine
from typing import Any

#: callbacks that may run without time going on; more is a live-lock
MOST_STEPS_AT_ONE_TIME = 200_000


class Deadlock(Exception):
    """Nothing is ready and no timer is set, though the run is not over."""


class Livelock(Exception):
    """The program runs on and on and time does not."""


class Lane:
    """All that one simulated process runs; `fuse` counts callbacks down to `blow` (a crash at any await)."""

    __slots__ = ("blow", "context", "fuse", "held", "name", "state", "steps")

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = "alive"
        self.held: list[asyncio.Handle] = []
        self.steps = 0
        self.fuse: int | None = None
        self.blow: Callable[[], None] | None = None
        self.context = contextvars.Context()
        self.context.run(LANE.set, self)


LANE: contextvars.ContextVar[Lane | None] = contextvars.ContextVar("lane", default=None)


class _Future(asyncio.Future[Any]):
    """Hashes by its number, not by its address."""

    _serial = 0

    def __hash__(self) -> int:
        return self._serial


class _Task(asyncio.Task[Any]):
    _serial = 0
    lane: Lane | None = None

    def __hash__(self) -> int:
        return self._serial


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module's docstring. `time()` starts at 0."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._virtual_now = 0.0
        self._rng = rng
        self._serial = 0
        self._steps_here = 0
        self.graveyard: list[asyncio.Task[Any]] = []
        #: called after each batch of callbacks, outside every lane (the auditor looks on)
        self.after_step: Callable[[], None] = lambda: None

    def time(self) -> float:
        return self._virtual_now

    def create_future(self) -> asyncio.Future[Any]:
        future = _Future(loop=self)
        self._serial += 1
        future._serial = self._serial
        return future

    def create_task(self, coro: Coroutine[Any, Any, Any], *, name: str | None = None,  # type: ignore[override]
                    context: contextvars.Context | None = None, **options: Any) -> asyncio.Task[Any]:
        self._check_closed()
        self._serial += 1
        task = _Task(coro, loop=self, name=name or f"Task-{self._serial}", context=context, **options)
        task._serial = self._serial
        task.lane = LANE.get() if context is None else context.get(LANE)
        return task

    def spawn(self, lane: Lane, coro: Coroutine[Any, Any, Any], name: str | None = None) -> asyncio.Task[Any]:
        """Run `coro` as a task of `lane`."""
        return self.create_task(coro, name=name, context=lane.context.copy())

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Threads would not repeat: the function runs here and now, its result comes with the next callbacks."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    # --- lanes --------------------------------------------------------------------------------------------------------

    def bury(self, lane: Lane) -> None:
        """`lane` dies where it stands. Its tasks are kept until `dig_out`, so that no `finally` of theirs runs."""
        lane.state = "dead"
        lane.fuse = None
        for task in sorted(all_tasks(self), key=hash):
            if isinstance(task, _Task) and task.lane is lane:
                self._lay(task)

    def resume(self, lane: Lane) -> None:
        """`lane` goes on where it was paused."""
        if lane.state == "paused":
            lane.state = "alive"
            self._ready.extend(lane.held)  # type: ignore[attr-defined]
            lane.held.clear()

    def dig_out(self) -> None:
        """The run is over: whatever still stands at an await is closed, and nobody hears of it."""
        for task in sorted(all_tasks(self), key=hash):
            self._lay(task)
        self._ready.clear()  # type: ignore[attr-defined]
        self._scheduled.clear()  # type: ignore[attr-defined]
        for task in self.graveyard:
            coroutine = task.get_coro()
            with contextlib.suppress(BaseException):
                coroutine.close()  # type: ignore[union-attr]
        self.graveyard.clear()

    def _lay(self, task: asyncio.Task[Any]) -> None:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        coroutine = task.get_coro()
        if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
            coroutine.close()  # it had not begun, so this runs nothing of it
        else:
            self.graveyard.append(task)

    # --- the loop -----------------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]
        self._forget_cancelled()
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not ready:
            if self._stopping:  # type: ignore[attr-defined]
                return
            if not scheduled:
                raise Deadlock("nothing is ready and no timer is set")
            self._virtual_now = max(self._virtual_now, scheduled[0]._when)
            self._steps_here = 0
        while scheduled and (scheduled[0]._cancelled or scheduled[0]._when <= self._virtual_now):
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if not handle._cancelled:
                ready.append(handle)
        batch = list(ready)
        ready.clear()
        for handle in self._interleaved(batch):
            self._run_handle(handle)
        self._steps_here += len(batch)
        if self._steps_here > MOST_STEPS_AT_ONE_TIME:
            raise Livelock(f"{self._steps_here} callbacks at {self._virtual_now:.3f} s and time does not go on")
        self.after_step()

    def _forget_cancelled(self) -> None:
        """Most timers are cancelled long before they are due: without this they would fill the heap."""
        scheduled = self._scheduled  # type: ignore[attr-defined]
        if self._timer_cancelled_count > 100 and 2 * self._timer_cancelled_count > len(scheduled):  # type: ignore[has-type]
            scheduled[:] = [handle for handle in scheduled if not handle._cancelled]
            heapq.heapify(scheduled)
            self._timer_cancelled_count = 0

    def _run_handle(self, handle: asyncio.Handle) -> None:
        lane = handle._context.get(LANE)  # type: ignore[attr-defined]
        if lane is not None:
            if lane.state == "dead":
                return
            if lane.state == "paused":
                lane.held.append(handle)
                return
            lane.steps += 1
            if lane.fuse is not None:
                lane.fuse -= 1
                if lane.fuse <= 0 and lane.blow is not None:
                    lane.fuse = None
                    lane.blow()
                    return
        if not handle._cancelled:  # type: ignore[attr-defined]
            handle._run()  # type: ignore[attr-defined]

    def _interleaved(self, batch: list[asyncio.Handle]) -> list[asyncio.Handle]:
        if len(batch) < 2:
            return batch
        queues: dict[Lane | None, list[asyncio.Handle]] = {}
        for handle in batch:
            queues.setdefault(handle._context.get(LANE), []).append(handle)  # type: ignore[attr-defined]
        if len(queues) == 1:
            return batch
        order = [lane for lane, handles in queues.items() for _ in handles]
        self._rng.shuffle(order)
        feeds = {lane: iter(handles) for lane, handles in queues.items()}
        return [next(feeds[lane]) for lane in order]

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector here."""

    def _process_events(self, event_list: Any) -> None:
        """There are no file descriptors."""
