"""One live agent: its inbox, its conversations, its place in the journal.

It owns its step loop: in each conversation one turn at a time runs, and what the turns of several conversations do
to the agent's memory is committed one after the other. It writes as `agent:<id>` in its epoch, and the store refuses
whoever has an older one, so that at most one activation of an agent can commit (P3). Everything in memory here can be
lost at any time: the journal holds it, and the next activation goes on from there (P2).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

from repertory.actors.arrivals import Arrivals
from repertory.actors.editing import edited_row
from repertory.actors.inbox import Inbox, as_row
from repertory.actors.lanes import Lanes
from repertory.actors.surroundings import Surroundings
from repertory.actors.toolbox import Toolbox
from repertory.actors.viewing import view_of
from repertory.errors import Fenced, RepertoryError
from repertory.memory import events, rows, tokens
from repertory.memory.agent_types import AgentType, type_named
from repertory.memory.fold import fold, revive
from repertory.memory.journal import CLAIM, Commit, Committed, Loaded, NewRow
from repertory.memory.outcomes import outcome_of
from repertory.memory.shared import known_versions, with_versions
from repertory.memory.state import AgentState
from repertory.messages import TERMINAL, Envelope, Message, Outcome

#: a snapshot is written after so many events (loading reads at most as many rows behind it) …
SNAPSHOT_EVERY = 32
#: … and when the agent is put away, if there are at least so many
SNAPSHOT_AT_REST = 8

T = TypeVar("T")


class Agent:
    """A live agent, in a process that lends itself to it."""

    METHODS: ClassVar[frozenset[str]] = frozenset({"ask", "nudge", "events", "cancel", "view", "edit"})

    state: AgentState
    kind: AgentType
    toolbox: Toolbox

    def __init__(self, agent_id: str, surroundings: Surroundings) -> None:
        self.id, self.surroundings, self.now = agent_id, surroundings, surroundings.now
        self.arrivals = Arrivals(self._deadline_of)
        #: held while a step's calls are made real: changes of memory come one after the other
        self.memory = asyncio.Lock()
        #: what the provider counts over what we estimate, at least 1
        self.token_ratio = 1.0
        self._nudged = self._briefly = False
        self.last_used = surroundings.now()
        self.epoch = 0
        self._events_since_snapshot = 0
        self._window: int | None = None
        self._sizes: dict[str, int] = {}
        self._writing = asyncio.Lock()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self.inbox, self.lanes = Inbox(self), Lanes(self)

    # --- its life in a process ----------------------------------------------------------------------------------------

    async def start(self, briefly: bool = False) -> int:
        """Claim the next epoch, load, and go on with what was begun; the epoch. Raises AgentNotFound.

        `briefly`: only with runs whose deadlines have passed, to end them.
        """
        self._briefly = self.lanes.resting = briefly
        claim = NewRow(stream=rows.agent_stream(self.id), kind="activated")
        claimed = await self.surroundings.store.commit(Commit(
            op_id=self.surroundings.new_op(), author=rows.agent_stream(self.id), epoch=CLAIM, rows=(claim,)))
        self.epoch = claimed.epoch
        await self._load()
        self.lanes.begin_all()
        if briefly:
            await self.inbox.end_unbegun()
        return self.epoch

    @property
    def idle(self) -> bool:
        """Whether nothing is under way; a turn that waits for others is not."""
        return not self.lanes.running and not self.arrivals.being_kept()

    async def rest(self, within_s: float) -> bool:
        """Begin no further turn; True when, within `within_s` seconds, none runs any more. Else work on as before."""
        self.lanes.resting = True
        self.inbox.watch_deadlines()
        if running := [*self.lanes.running.values(), *self.arrivals.being_kept()]:
            await asyncio.wait(running, timeout=within_s)
        if self.lanes.running:
            self.lanes.resting = self._briefly
            self.lanes.begin_all()
            return False
        return True

    async def stop(self) -> None:
        """End every task. Callers who still wait are told to ask elsewhere."""
        if self.lanes.resting and not self.lanes.running and self._events_since_snapshot >= SNAPSHOT_AT_REST:
            with contextlib.suppress(RepertoryError):  # else the next activation reads some more rows
                await self._snapshot()
        self.inbox.close()
        self.lanes.close()
        self.arrivals.close()
        me = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not me]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- what others may call -----------------------------------------------------------------------------------------

    async def ask(self, envelope: Envelope, op_id: str, wait_s: float, stream: bool = False) -> Outcome:
        """Deliver a message and wait at most `wait_s` seconds for the end of its run.

        The same op_id delivers it once. The outcome is `running` if that was too short: ask again. `stream`: the
        pieces of the answer are wanted, by `events`.
        """
        self.last_used = self.now()
        if (outcome := self.arrivals.outcome(envelope.run_id)) is not None:
            return outcome
        if stream:
            self.arrivals.feed(envelope.run_id).streamed = True
        arrival = self.arrivals.by_op.get(op_id)
        if arrival is None:
            arrival = self.inbox.admit(envelope, op_id)
        await asyncio.wait((arrival.over,), timeout=wait_s)
        if arrival.over.done():
            return arrival.over.result()
        return Outcome(run_id=envelope.run_id, agent_id=self.id, status="running")

    async def nudge(self) -> None:
        """Look into the inbox: others have written to it. Many at once are one look. Raises Fenced if it is over."""
        if self.lanes.fenced:
            raise Fenced(f"a newer activation of {self.id} exists")
        if self._nudged:
            return  # the look that is about to begin will see it
        self._nudged = True
        try:
            async with self.inbox.lock:
                self._nudged = False
                await self.inbox.fetch()
        finally:
            self._nudged = False
        self.lanes.begin_all()
        await self.inbox.end_unbegun()
        await self.inbox.tidy()

    async def events(self, run_id: str, after: int, wait_s: float, stream: bool = False) -> list[dict[str, Any]]:
        """What has happened in a run behind event number `after`; waits at most `wait_s` for the first.

        Each is a dict: n, kind (text, reasoning, call, result, said, compacted, end), text, and more by its kind.
        """
        feed = self.arrivals.feed(run_id)
        feed.streamed = feed.streamed or stream
        return await feed.after(after, wait_s)

    async def cancel(self, run_id: str) -> Outcome:
        """End a run as soon as its calls that were begun are accounted for. An ended one is left as it is."""
        run = await self.surroundings.store.ask("run", run_id=run_id)
        if run["status"] in TERMINAL:
            return await outcome_of(self.surroundings.store, run_id, run)
        async with self.inbox.lock:
            await self.inbox.fetch()
            if not self.arrivals.is_cancelled(run_id):
                await self.inbox.write(f"cancel/{run_id}", events.cancel(self.id, run_id))
        self.lanes.begin_all()
        await self.inbox.end_unbegun()
        if (outcome := self.arrivals.outcome(run_id)) is not None:
            return outcome
        return await asyncio.shield(self.arrivals.watch(run_id).over)

    async def view(self, what: str, **arguments: Any) -> Any:
        """Its state, for reading: see `actors.viewing`."""
        await self.refresh_shared_blocks()
        return await view_of(self, what, **arguments)

    async def edit(self, op_id: str, change: dict[str, Any]) -> dict[str, Any]:
        """Change it from outside: see `actors.editing` for the keys of `change`. The same op_id changes it once."""
        self.last_used = self.now()
        await self.refresh_shared_blocks()
        async with self.memory:
            if await self.surroundings.store.lookup(f"{self.id}/edit/{op_id}"):
                return {"replayed": True}
            row, told = edited_row(self, change, op_id)
            await self.commit(f"edit/{op_id}", [row])
        self._reshape()
        return told

    # --- what its turns need ------------------------------------------------------------------------------------------

    async def commit(self, op: str, new_rows: list[NewRow]) -> Committed:
        """Write rows and fold them into the state. Raises CommitRefused, StorageError or OutcomeUnknown."""
        stream = rows.agent_stream(self.id)
        async with self._writing:
            done = await self.surroundings.store.commit(Commit(
                op_id=f"{self.id}/{op}", author=stream, epoch=self.epoch, rows=tuple(new_rows),
                expect={stream: self.state.seq},
            ))
            for offset, new in enumerate(new_rows):
                if new.stream == stream and done.first + offset > self.state.seq:
                    self._fold(new, done, done.first + offset)
        return done

    def over(self, outcome: Outcome) -> None:
        """A run has ended, and that is in the journal."""
        self.last_used = self.now()
        self.arrivals.ended(outcome)
        if self._events_since_snapshot >= SNAPSHOT_EVERY:
            self._events_since_snapshot = 0
            self.spawn(self._snapshot())

    async def refresh_shared_blocks(self) -> None:
        """Bring the copies of shared blocks up to date."""
        known = known_versions(self.state)
        if known:
            news = await self.surroundings.blocks.read_since(known)
            self.state = with_versions(self.state, news)  # the state of now: other turns went on meanwhile

    async def context_window(self) -> int:
        """Tokens of a request and its answer together."""
        if self.state.spec.context_window is not None:
            return self.state.spec.context_window
        if self._window is None:
            self._window = await self.surroundings.models.context_window(self.state.spec.model)
        return self._window

    def size_of(self, message: Message) -> int:
        """Tokens of a message, counted once."""
        size = self._sizes.get(message.id)
        if size is None:
            if len(self._sizes) > 20_000:
                self._sizes.clear()
            size = self._sizes[message.id] = tokens.of_message(message)
        return size

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that ends with the agent, at the latest."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self.id}/{getattr(work, '__name__', 'task')}")
        self._tasks[task] = None
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            task.exception()  # whoever waits for it sees it; a background task has seen to it itself

    # --- its state ----------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        loaded: Loaded = await self.surroundings.store.load(self.id)
        self.state = revive(self.id, loaded)
        self._events_since_snapshot = len(loaded.events)
        self.arrivals.renew(loaded.inbox, loaded.inbox_head)
        self._reshape()

    async def reload(self) -> None:
        """Read from the journal how things stand."""
        async with self.inbox.lock, self._writing:
            await self._load()

    def _reshape(self) -> None:
        """Kind and tools as the spec names them now."""
        self.kind = type_named(dict(self.surroundings.types), self.state.spec.agent_type)
        self.toolbox = Toolbox(self.state.spec, self.kind, self.surroundings.tools)
        self._window = None

    def _fold(self, new: NewRow, done: Committed, seq: int) -> None:
        row = as_row(new, done, seq, "", rows.agent_stream(self.id), self.epoch)
        self.state = fold(self.state, row)
        self._events_since_snapshot += 1
        self.arrivals.consumed(row.data.get("consumed", ()))
        if "run_id" in row.data:
            self.arrivals.feed(row.data["run_id"]).tell(row)

    def _deadline_of(self, envelope: Envelope, at: float) -> float:
        return at + (envelope.within_s if envelope.within_s is not None else self.state.spec.deadline_s)

    async def _snapshot(self) -> None:
        state = self.state
        await self.surroundings.store.commit(Commit(
            op_id=f"{self.id}/snapshot/{state.seq}", author=rows.agent_stream(self.id), epoch=self.epoch,
            rows=(events.snapshot(state),)))
        self._events_since_snapshot = 0
