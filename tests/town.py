"""A small town for tests of the directory: a store in memory, processes in this one, and agents of a few lines.

The agents are real enough to show what the directory must do: they claim their epoch, take their inbox a turn at a
time, and a turn that asks another agent is parked and may be put away.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

from repertory.actors.callers import AgentCaller
from repertory.actors.directory import Directory
from repertory.actors.handles import DirectoryHandle
from repertory.actors.local import LocalRef
from repertory.actors.pool import PoolLimits
from repertory.actors.process import AgentProcess
from repertory.errors import Fenced, OutcomeUnknown
from repertory.ids import IdSource
from repertory.memory.journal import CLAIM, UNFENCED, Commit, Committed, NewRow, Row
from repertory.memory.rows import agent_stream, inbox_stream
from repertory.memory.volatile import VolatileStore
from repertory.messages import Envelope, Outcome, ReplyTo, pack, unpack

DEADLINE_S = 60.0


class Resident:
    """An agent: `hold` waits for the town's gate, `next` asks the agent of the next number, all else is answered."""

    METHODS = frozenset({"ask", "nudge", "view"})

    def __init__(self, town: Town, agent_id: str) -> None:
        self.town, self.agent_id = town, agent_id
        self.epoch = 0
        self.name = ""
        self.last_used = town.now()
        self._turning = self._resting = False
        self._news = asyncio.Event()
        self._ended = asyncio.Condition()
        self._loop: asyncio.Task[None] | None = None
        self._count = itertools.count()

    @property
    def idle(self) -> bool:
        return not self._turning and not self._news.is_set()

    async def start(self, briefly: bool = False) -> int:
        if self.agent_id in self.town.poisoned:
            raise OutcomeUnknown("poison")
        self.epoch = (await self._commit(CLAIM, NewRow(stream=agent_stream(self.agent_id), kind="activated"))).epoch
        self.name = (await self.town.store.ask("agent", agent_id=self.agent_id))["name"]
        if briefly:
            await self._end_late()
            return self.epoch
        self._news.set()
        self._loop = asyncio.create_task(self._work(), name=f"{self.agent_id} works")
        return self.epoch

    async def rest(self, within_s: float) -> bool:
        if within_s == 0:
            return self.idle
        self._resting = True
        try:
            async with asyncio.timeout(within_s), self._ended:
                await self._ended.wait_for(lambda: not self._turning and (self._done or not self._news.is_set()))
            return True
        except TimeoutError:
            self._resting = False
            return False

    _done = 0

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def nudge(self) -> None:
        self._news.set()

    async def view(self, what: str) -> Any:
        self.last_used = self.town.now()
        return {"agent": self.agent_id, "epoch": self.epoch, "what": what}

    async def ask(self, envelope: Envelope, op_id: str, wait_s: float) -> Outcome:
        self.last_used = self.town.now()
        row = NewRow(stream=inbox_stream(self.agent_id), kind="message", data=pack(envelope))
        author = f"agent:{self.agent_id}"
        await self.town.store.commit(Commit(op_id=op_id, author=author, epoch=self.epoch, rows=(row,)))
        self._news.set()
        try:
            async with asyncio.timeout(wait_s), self._ended:
                while (run := await self.town.store.ask("run", run_id=envelope.run_id))["status"] != "completed":
                    await self._ended.wait()
        except TimeoutError:
            return Outcome(run_id=envelope.run_id, agent_id=self.agent_id, status="running")
        step = (await self.town.store.read(agent_stream(self.agent_id), after=run["ended_seq"] - 1, limit=1))[0]
        return Outcome(run_id=envelope.run_id, agent_id=self.agent_id, status="completed",
                       texts=tuple(step.data["texts"]))

    async def _work(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while (row := await self._take()) is not None:
                if self._resting:
                    self._news.set()
                    await asyncio.Event().wait()
                self._turning = True
                try:
                    await self._turn(row)
                except Fenced:
                    return
                finally:
                    self._turning = False
                    self._done += 1
                    self.last_used = self.town.now()
                    async with self._ended:
                        self._ended.notify_all()
            async with self._ended:
                self._ended.notify_all()

    async def _end_late(self) -> None:
        for row in (await self.town.store.load(self.agent_id)).inbox:
            run = await self.town.store.ask("run", run_id=row.data["run_id"])
            if run["deadline_at"] is not None and run["deadline_at"] <= self.town.now():
                await self._step(unpack(Envelope, row.data), row.seq, ["too late"])

    async def _take(self) -> Row | None:
        described = await self.town.store.ask("agent", agent_id=self.agent_id)
        parked = bool(described["turns"])
        inbox = (await self.town.store.load(self.agent_id)).inbox
        return next((row for row in inbox if row.kind == ("reply" if parked else "message")), None)

    async def _turn(self, row: Row) -> None:
        self.town.turns.append(self.name)
        if row.kind == "reply":
            waits = [r for r in await self.town.store.read(agent_stream(self.agent_id)) if r.kind == "wait"]
            run_id = waits[-1].data["run_id"]
            rows = await self.town.store.read(inbox_stream(self.agent_id))
            asked = next(r for r in rows if r.kind == "message" and r.data["run_id"] == run_id)
            texts = row.data.get("texts") or [row.data["error"]]
            await self._step(unpack(Envelope, asked.data), row.seq, [f"{self.name}<{texts[0]}"])
            return
        envelope = unpack(Envelope, row.data)
        if envelope.text == "hold":
            self.town.held.append(self.name)
            await self.town.gate.wait()
        if envelope.text == "next" and (target := self.town.after(self.name)) is not None:
            await self._ask(envelope, row.seq, target)
        else:
            await self._step(envelope, row.seq, [self.name])

    async def _ask(self, envelope: Envelope, seq: int, target: str) -> None:
        op_id = f"{self.agent_id}/{seq}/0"
        stream, common = agent_stream(self.agent_id), {"conversation_id": "default", "run_id": envelope.run_id}
        question = Envelope(run_id=f"run-{op_id}", message_id=op_id, text="next",
                            reply_to=ReplyTo(agent_id=self.agent_id, conversation_id="default", op_id=op_id))
        await self._commit(
            self.epoch,
            NewRow(stream=stream, kind="response", data={**common, "consumed": [seq]}),
            NewRow(stream=stream, kind="wait", data={**common, "targets": [
                {"op_id": op_id, "agent_id": target, "conversation_id": "default"}]}),
            NewRow(stream=inbox_stream(target), kind="message", data=pack(question)),
        )

    async def _step(self, envelope: Envelope, seq: int, texts: list[str]) -> None:
        step = NewRow(stream=agent_stream(self.agent_id), kind="step", data={
            "conversation_id": "default", "run_id": envelope.run_id, "consumed": [seq], "status": "completed",
            "texts": texts})
        if envelope.reply_to is None:
            await self._commit(self.epoch, step)
            return
        to = envelope.reply_to
        await self._commit(self.epoch, step, NewRow(stream=inbox_stream(to.agent_id), kind="reply", data={
            "in_reply_to": to.op_id, "conversation_id": to.conversation_id, "texts": texts}))

    async def _commit(self, epoch: int, *rows: NewRow) -> Committed:
        op_id = f"{self.agent_id}/{self.epoch}/{next(self._count)}/{self.town.ids.new('turn')}"
        author = f"agent:{self.agent_id}"
        return await self.town.store.commit(Commit(op_id=op_id, author=author, epoch=epoch, rows=rows))


class Town:
    """Store, directory, pool and callers in one process. Use it as an async context manager."""

    def __init__(self, *, cap: int = 8, spare: int = 1, identities: int = 200, idle_s: float | None = None) -> None:
        self.ids = IdSource(7)
        self.cap, self.idle_s = cap, idle_s
        self.limits = PoolLimits(spare=spare, identities=identities)
        self.store = VolatileStore(on_inbox=self._on_inbox)
        self.processes: dict[str, tuple[LocalRef, AgentProcess]] = {}
        self.gate = asyncio.Event()
        self.held: list[str] = []
        self.turns: list[str] = []
        self.poisoned: list[str] = []
        self.most_live = 0
        self._count = itertools.count(1)

    async def __aenter__(self) -> Town:
        await self.open_directory()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.directory.stop()
        for ref, _ in list(self.processes.values()):
            ref.kill()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def open_directory(self) -> None:
        self.directory = Directory(self.store, self, live_cap=self.cap, limits=self.limits, idle_s=self.idle_s,
                                   now=self.now, ids=self.ids)
        self.ref = LocalRef("directory", self.directory)
        await self.directory.start()
        self.handle = DirectoryHandle(self.ref)
        self.caller = AgentCaller(self.handle, self.store, now=self.now)

    def now(self) -> float:
        return time.time()

    async def spawn(self) -> LocalRef:
        process = AgentProcess(lambda agent_id: Resident(self, agent_id))
        ref = LocalRef(f"process-{next(self._count)}", process)
        self.processes[ref.key] = (ref, process)
        return ref

    async def kill(self, ref: Any) -> None:
        ref.kill()
        _, process = self.processes.pop(ref.key, (None, None))
        if process is not None and process._agent is not None:
            await process._agent.stop()

    async def existing(self) -> list[Any]:
        return [ref for ref, _ in self.processes.values()]

    async def create(self, *names: str, **spec: Any) -> list[str]:
        specs = [{"name": name, **spec} for name in names]
        return await self.handle.create(specs, op_id=self.ids.new("turn"))

    async def ask(self, agent_id: str, text: str = "hello") -> Outcome:
        envelope = Envelope(run_id=self.ids.new("run"), message_id=self.ids.new("message"), text=text)
        return await self.caller.ask(agent_id, envelope, op_id=self.ids.new("turn"), deadline_s=DEADLINE_S)

    async def post(self, agent_id: str, text: str = "hello", within_s: float | None = None) -> str:
        envelope = Envelope(run_id=self.ids.new("run"), message_id=self.ids.new("message"), text=text,
                            within_s=within_s)
        row = NewRow(stream=inbox_stream(agent_id), kind="message", data=pack(envelope))
        await self.store.commit(Commit(op_id=self.ids.new("turn"), author="client:test", epoch=UNFENCED, rows=(row,)))
        return envelope.run_id

    async def done(self, *run_ids: str) -> None:
        """Wait until these runs have ended."""
        await self.until(lambda: all(self.store.index.runs[r].status == "completed" for r in run_ids))

    async def until(self, holds: Any) -> None:
        """Wait until `holds()`."""
        async with asyncio.timeout(DEADLINE_S):
            while not holds():  # noqa: ASYNC110  # what is waited for has no event of its own
                await asyncio.sleep(0.005)

    def live(self) -> list[str]:
        """The names of those that are live."""
        live = [p._agent.name for _, p in self.processes.values() if p._agent is not None]
        return sorted(live)

    def process_of(self, agent_id: str) -> LocalRef:
        return next(ref for ref, p in self.processes.values() if p._agent is not None and p._agent_id == agent_id)

    def after(self, name: str) -> str | None:
        prefix, _, number = name.rpartition("-")
        return self.store.index.names.get(f"{prefix}-{int(number) + 1}")

    def _on_inbox(self, agent_id: str) -> None:
        if hasattr(self, "ref") and self.ref.alive:
            self.ref.tell("wake", agent_id)
