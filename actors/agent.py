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

from repertory.actors.arrivals import Arrival, Arrivals, Kept, NotNext
from repertory.actors.editing import edited_row
from repertory.actors.surroundings import Surroundings
from repertory.actors.toolbox import Toolbox
from repertory.actors.turns import TurnRunner
from repertory.actors.viewing import view_of
from repertory.errors import (
    CommitRefused,
    Fenced,
    Moved,
    RepertoryError,
    RouteError,
    StaleExpectation,
    StorageError,
)
from repertory.memory import events, rows, tokens
from repertory.memory.agent_types import AgentType, type_named
from repertory.memory.fold import fold, revive
from repertory.memory.journal import CLAIM, Commit, Committed, Loaded, NewRow, Row
from repertory.memory.outcomes import outcome_of
from repertory.memory.shared import known_versions, with_versions
from repertory.memory.state import AgentState, Turn
from repertory.messages import TERMINAL, Envelope, Message, Outcome

#: a snapshot is written after so many events (loading reads at most as many rows behind it) …
SNAPSHOT_EVERY = 32
#: … and when the agent is put away, if there are at least so many
SNAPSHOT_AT_REST = 8
#: tries of keeping the order of the inbox before a message is simply queued
ORDERED_TRIES = 3
#: seconds before a turn that met a lost store or a lost answer goes on; doubled up to the second
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0

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
        self.last_used = surroundings.now()
        self._epoch = 0
        self._events_since_snapshot = 0
        self._window: int | None = None
        self._sizes: dict[str, int] = {}
        self._writing, self._receiving = asyncio.Lock(), asyncio.Lock()
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}
        #: by conversation: the run whose turn is under way
        self._taken: dict[str, str] = {}
        #: by conversation: when a turn that rests must go on
        self._timers: dict[str, asyncio.TimerHandle] = {}
        #: when the first of the waiting runs is too late
        self._sweeper: asyncio.TimerHandle | None = None
        self._resting = False

    # --- its life in a process ----------------------------------------------------------------------------------------

    async def start(self) -> int:
        """Claim the next epoch, load, and go on with what was begun; the epoch. Raises AgentNotFound."""
        claim = NewRow(stream=rows.agent_stream(self.id), kind="activated")
        claimed = await self.surroundings.store.commit(Commit(
            op_id=self.surroundings.new_op(), author=rows.agent_stream(self.id), epoch=CLAIM, rows=(claim,)))
        self._epoch = claimed.epoch
        await self._load()
        self._begin_all()
        return self._epoch

    @property
    def idle(self) -> bool:
        """Whether nothing is under way; a turn that waits for others is not."""
        return not self._lanes and not any(arrival.keeping is not None and not arrival.keeping.done()
                                           for arrival in self.arrivals.by_op.values())

    async def rest(self, within_s: float) -> bool:
        """Begin no further turn; True when, within `within_s` seconds, none runs any more. Else work on as before."""
        self._resting = True
        running = [*self._lanes.values(), *(arrival.keeping for arrival in self.arrivals.by_op.values()
                                            if arrival.keeping is not None)]
        if running:
            await asyncio.wait(running, timeout=within_s)
        if self._lanes:
            self._resting = False
            self._begin_all()
            return False
        return True

    async def stop(self) -> None:
        """End every task. Callers who still wait are told to ask elsewhere."""
        if self._resting and not self._lanes and self._events_since_snapshot >= SNAPSHOT_AT_REST:
            with contextlib.suppress(RepertoryError):  # else the next activation reads some more rows
                await self._snapshot()
        for timer in (*self._timers.values(), *([self._sweeper] if self._sweeper else [])):
            timer.cancel()
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
            arrival = self._admit(envelope, op_id)
        await asyncio.wait((arrival.over,), timeout=wait_s)
        if arrival.over.done():
            return arrival.over.result()
        return Outcome(run_id=envelope.run_id, agent_id=self.id, status="running")

    async def nudge(self) -> None:
        """Look into the inbox: others have written to it."""
        async with self._receiving:
            await self._fetch()
        self._begin_all()
        await self._end_unbegun()
        await self._tidy()

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
        async with self._receiving:
            await self._fetch()
            if not self.arrivals.is_cancelled(run_id):
                await self._write_inbox(f"cancel/{run_id}", events.cancel(self.id, run_id))
        self._begin_all()
        await self._end_unbegun()
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
                op_id=f"{self.id}/{op}", author=stream, epoch=self._epoch, rows=tuple(new_rows),
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

    # --- arrivals -----------------------------------------------------------------------------------------------------

    def _admit(self, envelope: Envelope, op_id: str) -> Arrival:
        """A new message: write it into the inbox, and begin its turn at once if it is the only one."""
        if self._resting:
            raise Moved("this agent is about to leave its process", agent_id=self.id)
        arrival = self.arrivals.by_op[op_id] = Arrival(envelope)
        arrival.keeping = self.spawn(self._keep(arrival, op_id))
        conversation_id = envelope.conversation_id
        free = (conversation_id not in self._lanes and self.arrivals.next_of(conversation_id) is None
                and self.state.conversation(conversation_id).turn is None)
        if free:
            self._begin(conversation_id, arrival)
        return arrival

    async def _keep(self, arrival: Arrival, op_id: str) -> Kept:
        """Write a caller's message into the inbox. Raises NotNext if it is not the next to be done."""
        envelope = arrival.envelope
        try:
            async with self._receiving:
                done = await self._write_inbox(op_id, events.message(self.id, envelope))
                if done.replayed:
                    await self._recall(envelope, done)
        except RepertoryError as error:
            self.arrivals.drop(op_id, error)
            raise NotNext from error
        first = self.arrivals.next_of(envelope.conversation_id)
        if first is None or first[0].run_id != envelope.run_id:
            self._soon(envelope.conversation_id)
            self._set_sweeper()
            raise NotNext
        self._soon(envelope.conversation_id)
        return first[1]

    async def _write_inbox(self, op_id: str, row: NewRow) -> Committed:
        """Write a row into the own inbox behind all rows that are known, and take notice of it."""
        stream, author = rows.inbox_stream(self.id), rows.agent_stream(self.id)
        expect: dict[str, int] = {stream: self.arrivals.head}
        for attempt in range(ORDERED_TRIES + 1):
            try:
                done = await self.surroundings.store.commit(Commit(
                    op_id=op_id, author=author, epoch=self._epoch, rows=(row,), expect=expect))
                break
            except StaleExpectation:
                await self._fetch()
                expect = {stream: self.arrivals.head} if attempt + 1 < ORDERED_TRIES else {}
        if expect and not done.replayed:
            self.arrivals.take([_as_row(row, done, done.first, op_id, author, self._epoch)])
        else:
            await self._fetch()
        return done

    async def _recall(self, envelope: Envelope, done: Committed) -> None:
        """A message that was delivered before: its run may be over."""
        run = await self.surroundings.store.ask("run", run_id=envelope.run_id)
        if run["status"] in TERMINAL:
            self.arrivals.ended(await outcome_of(self.surroundings.store, envelope.run_id, run))

    async def _fetch(self) -> None:
        """Read the inbox rows that are not known yet."""
        stream = rows.inbox_stream(self.id)
        while found := await self.surroundings.store.read(stream, after=self.arrivals.head, limit=500):
            self.arrivals.take(found)

    async def _tidy(self) -> None:
        """Settle what needs no turn: replies and cancels that came too late."""
        if self._lanes or self._resting:
            return
        asked = {question.op_id for conversation in self.state.conversations.values() if conversation.turn
                 for question in conversation.turn.questions}
        open_runs = {conversation.turn.envelope.run_id for conversation in self.state.conversations.values()
                     if conversation.turn}
        open_runs |= {envelope.run_id for envelope, _ in self.arrivals.messages.values()}
        seqs = [row.seq for op_id, row in self.arrivals.replies.items() if op_id not in asked]
        seqs += self.arrivals.stray_cancels(open_runs.__contains__)
        if seqs:
            seqs.sort()
            self.arrivals.consumed(seqs)
            await self.commit(f"consumed/{seqs[0]}-{seqs[-1]}", [events.consumed(self.id, seqs)])

    async def _end_unbegun(self) -> None:
        """End the runs that wait behind another one and are cancelled, or whose deadline has passed (P5)."""
        for seq in sorted(self.arrivals.messages):
            envelope, kept = self.arrivals.messages.get(seq, (None, None))
            if envelope is None or kept is None or not self._waits_behind(envelope):
                continue
            cancelled = self.arrivals.is_cancelled(envelope.run_id)
            if not cancelled and self.now() < kept.deadline_at:
                continue
            del self.arrivals.messages[seq]  # from now on no turn takes it
            try:
                await self._unbegun(envelope, seq, cancelled)
            except RepertoryError:
                self.arrivals.messages[seq] = (envelope, kept)
                raise
        self._set_sweeper()

    async def _unbegun(self, envelope: Envelope, seq: int, cancelled: bool) -> None:
        outcome = Outcome(
            run_id=envelope.run_id, agent_id=self.id, status="cancelled" if cancelled else "failed",
            stop_reason="cancelled" if cancelled else "deadline",
            error="the run was cancelled" if cancelled else "the deadline of the run passed before its turn came")
        settled = [seq, *self.arrivals.cancels(envelope.run_id)]
        new = [events.unbegun(self.id, envelope, settled, outcome)]
        if envelope.reply_to is not None:
            new.append(events.reply(envelope.reply_to, outcome))
        await self.commit(f"{envelope.run_id}/unbegun", new)
        self.arrivals.consumed(settled)
        self.over(outcome)

    def _waits_behind(self, envelope: Envelope) -> bool:
        """Whether another run's turn keeps this message from being taken."""
        conversation_id = envelope.conversation_id
        turn = self.state.conversation(conversation_id).turn
        taken = self._taken.get(conversation_id, turn.envelope.run_id if turn is not None else envelope.run_id)
        return taken != envelope.run_id

    def _set_sweeper(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        late = [kept.deadline_at for envelope, kept in self.arrivals.messages.values() if self._waits_behind(envelope)]
        if late and not self._resting:
            after_s = max(0.05, min(late) - self.now() + 0.05)
            self._sweeper = asyncio.get_running_loop().call_later(after_s, self._sweep)

    def _sweep(self) -> None:
        self.spawn(self._end_unbegun())

    # --- its turns ----------------------------------------------------------------------------------------------------

    def _begin_all(self) -> None:
        """Begin to work in every conversation in which there is something to do."""
        open_ones = [key for key, conversation in self.state.conversations.items() if conversation.turn is not None]
        for conversation_id in dict.fromkeys([*open_ones, *self.arrivals.conversations()]):
            self._begin(conversation_id)

    def _begin(self, conversation_id: str, arrival: Arrival | None = None) -> None:
        if self._resting or conversation_id in self._lanes:
            return
        if arrival is None and self._next(conversation_id) is None:
            return
        self._lanes[conversation_id] = self.spawn(self._work(conversation_id, arrival))

    def _soon(self, conversation_id: str) -> None:
        asyncio.get_running_loop().call_soon(self._begin, conversation_id)

    async def _work(self, conversation_id: str, arrival: Arrival | None) -> None:
        """Turn after turn of one conversation, until there is nothing to do or the turn rests."""
        pause = FIRST_PAUSE_S
        try:
            while not self._resting:
                runner = self._next(conversation_id, arrival)
                arrival = None
                if runner is not None:
                    self._taken[conversation_id] = runner.run_id
                try:
                    if runner is None or not await runner.run():
                        break
                    pause = FIRST_PAUSE_S
                except NotNext:
                    continue
                except Fenced:
                    self._resting = True
                    self.arrivals.close()
                except (RouteError, StorageError, CommitRefused):
                    # what became of the last commit is unknown, or somebody knows more: look, and go on from there
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)
                    await self._reload()
        finally:
            self._lanes.pop(conversation_id, None)
            self._taken.pop(conversation_id, None)
            self._set_timer(conversation_id)
        self._begin(conversation_id)

    def _next(self, conversation_id: str, arrival: Arrival | None = None) -> TurnRunner | None:
        """The turn to go on with: one that is open, a message that has just come, or the oldest that waits."""
        turn = self.state.conversation(conversation_id).turn
        if turn is not None:
            return TurnRunner(self, turn, resumed=True) if self._can_go_on(turn) else None
        if arrival is not None:
            return TurnRunner(self, self._turn(arrival.envelope, self.arrivals.kept(arrival.envelope, 0, self.now())),
                              arrival=arrival)
        waiting = self.arrivals.next_of(conversation_id)
        return TurnRunner(self, self._turn(*waiting)) if waiting is not None else None

    def _can_go_on(self, turn: Turn) -> bool:
        open_questions = any(not question.refused and question.op_id not in self.arrivals.replies
                             for question in turn.questions)
        now = self.now()
        return (not open_questions or self.arrivals.is_cancelled(turn.envelope.run_id) or now >= turn.deadline_at
                or (turn.due_at is not None and now >= turn.due_at))

    def _set_timer(self, conversation_id: str) -> None:
        """A turn that rests goes on when its time is over, also if nobody answers."""
        if (old := self._timers.pop(conversation_id, None)) is not None:
            old.cancel()
        turn = self.state.conversation(conversation_id).turn
        if turn is not None and turn.questions:
            due_s = min(turn.due_at if turn.due_at is not None else turn.deadline_at, turn.deadline_at) - self.now()
            loop = asyncio.get_running_loop()
            self._timers[conversation_id] = loop.call_later(max(0.05, due_s + 0.05), self._begin, conversation_id)

    def _turn(self, envelope: Envelope, kept: Kept) -> Turn:
        return Turn(envelope=envelope, seq=kept.seq, begun_at=kept.at, deadline_at=kept.deadline_at,
                    max_steps=envelope.max_steps or self.state.spec.max_steps)

    def _deadline_of(self, envelope: Envelope, at: float) -> float:
        return at + (envelope.within_s if envelope.within_s is not None else self.state.spec.deadline_s)

    # --- its state ----------------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        loaded: Loaded = await self.surroundings.store.load(self.id)
        self.state = revive(self.id, loaded)
        self._events_since_snapshot = len(loaded.events)
        self.arrivals.messages.clear()
        self.arrivals.take(loaded.inbox)
        self.arrivals.head = max(self.arrivals.head, loaded.inbox_head)
        self._reshape()

    async def _reload(self) -> None:
        async with self._receiving, self._writing:
            await self._load()

    def _reshape(self) -> None:
        """Kind and tools as the spec names them now."""
        self.kind = type_named(dict(self.surroundings.types), self.state.spec.agent_type)
        self.toolbox = Toolbox(self.state.spec, self.kind, self.surroundings.tools)
        self._window = None

    def _fold(self, new: NewRow, done: Committed, seq: int) -> None:
        row = _as_row(new, done, seq, "", rows.agent_stream(self.id), self._epoch)
        self.state = fold(self.state, row)
        self._events_since_snapshot += 1
        if "run_id" in row.data:
            self.arrivals.feed(row.data["run_id"]).tell(row)

    async def _snapshot(self) -> None:
        state = self.state
        await self.surroundings.store.commit(Commit(
            op_id=f"{self.id}/snapshot/{state.seq}", author=rows.agent_stream(self.id), epoch=self._epoch,
            rows=(events.snapshot(state),)))
        self._events_since_snapshot = 0


def _as_row(new: NewRow, done: Committed, seq: int, op_id: str, author: str, epoch: int) -> Row:
    """A row that was written, as the journal would give it back (lists, not tuples)."""
    return Row(seq=seq, stream=new.stream, kind=new.kind, author=author, epoch=epoch, op_id=op_id, at=done.at,
               data=new.data)


