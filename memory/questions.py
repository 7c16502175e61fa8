"""What can be asked of the journal's index, and the knowledge that the answers come from.

`JournalIndex` fills the knowledge by folding rows; here it is only looked at. All answers are plain data.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import asdict
from heapq import nlargest
from typing import Any

from repertory.errors import AgentNotFound, InboxFull, RunNotFound
from repertory.memory.entries import AgentEntry, BlockEntry, OpenTurn, RunEntry, Waiting
from repertory.memory.waits import WaitGraph
from repertory.messages import TERMINAL

#: messages that may wait in one inbox; the next one is refused while its sender can still see it
INBOX_BOUND = 1_000


class Knowledge:
    """What is known of the journal without looking at a disk."""

    def __init__(self) -> None:
        self.last_seq = 0
        self.heads: dict[str, int] = {}
        self.epochs: dict[str, int] = {}
        #: op_id -> (digest of its payload, first seq, number of rows, epoch, at)
        self.ops: OrderedDict[str, tuple[int, int, int, int, float]] = OrderedDict()
        self.agents: dict[str, AgentEntry] = {}
        self.names: dict[str, str] = {}
        self.tagged: dict[str, dict[str, None]] = {}
        self.inboxes: dict[str, dict[int, Waiting]] = {}
        self.turns: dict[str, dict[str, OpenTurn]] = {}
        self.runs: OrderedDict[str, RunEntry] = OrderedDict()
        self.blocks: dict[str, BlockEntry] = {}
        self.waits = WaitGraph()
        self.dead_letters: list[int] = []
        self._reserved: dict[str, dict[str, None]] = {}

    def answer(self, question: str, **arguments: Any) -> Any:
        """The answer to one of QUESTIONS, as plain data. Raises NotFound, InboxFull, or ValueError for another."""
        method = QUESTIONS.get(question)
        if method is None:
            raise ValueError(f"the index has no answer to {question!r}; it knows {', '.join(QUESTIONS)}")
        return method(self, **arguments)

    def describe_agent(self, agent_id: str) -> dict[str, Any]:
        """One agent: id, name, tags, agent_type, resident, created_at, last_at, waiting (rows in its inbox)."""
        entry = self._agent(agent_id)
        return self._described(entry)

    def list_agents(self, *, match_all: Iterable[str] = (), match_any: Iterable[str] = (), after: str = "",
                    limit: int | None = None) -> list[dict[str, Any]]:
        """Agents in order of creation that carry all of `match_all` and one of `match_any` (if any is given)."""
        every, some = list(match_all), list(match_any)
        chosen: dict[str, Any] = self.agents
        if every:
            chosen = min((self.tagged.get(tag, {}) for tag in every), key=len)
        elif some:
            chosen = dict.fromkeys(agent_id for tag in some for agent_id in self.tagged.get(tag, {}))
        entries = [self.agents[a] for a in chosen]
        entries = [e for e in entries if all(tag in e.tags for tag in every)
                   and (not some or any(tag in e.tags for tag in some))]
        entries.sort(key=lambda e: e.created_seq)
        if after:
            mark = self._agent(after).created_seq
            entries = [e for e in entries if e.created_seq > mark]
        return [self._described(e) for e in entries[:limit]]

    def find_agent(self, name: str) -> str:
        """The id of the agent with that name, or with that id."""
        if name in self.names:
            return self.names[name]
        return self._agent(name).id

    def run(self, run_id: str) -> dict[str, Any]:
        """One run: agent_id, conversation_id, seq, status, ended_seq, deadline_at. Raises RunNotFound."""
        entry = self.runs.get(run_id)
        if entry is None:
            raise RunNotFound(f"no run {run_id}", run_id=run_id)
        return asdict(entry)

    def list_runs(self, *, agent_id: str | None = None, active: bool = False, limit: int = 100
                  ) -> list[dict[str, Any]]:
        """Runs, newest first."""
        found = (run for run in self.runs.values()
                 if agent_id in (None, run.agent_id) and not (active and run.status in TERMINAL))
        return [asdict(run) for run in nlargest(limit, found, key=lambda run: run.seq)]

    def attention(self, now: float) -> list[str]:
        """Agents that have something to do: a message to take, a turn to go on with, a wait that is over."""
        busy = dict.fromkeys([*self.inboxes, *self.turns])
        return [agent_id for agent_id in busy if agent_id in self.agents and self.has_work(agent_id, now)]

    def late(self, now: float) -> list[str]:
        """Agents that have a run whose deadline has passed."""
        return [agent_id for agent_id in dict.fromkeys([*self.inboxes, *self.turns]) if agent_id in self.agents and (
            any(self._is_late(turn.run_id, now) for turn in self.turns.get(agent_id, {}).values())
            or any(self._is_late(row.run_id, now) for row in self.inboxes.get(agent_id, {}).values()))]

    def has_work(self, agent_id: str, now: float) -> bool:
        """Whether this agent has something to do at `now` (seconds since 1970)."""
        turns = self.turns.get(agent_id, {})
        for turn in turns.values():
            if not turn.parked or (turn.due_at is not None and turn.due_at <= now):
                return True
        for row in self.inboxes.get(agent_id, {}).values():
            turn_here = turns.get(row.conversation_id)
            if row.kind != "message" or turn_here is None or not turn_here.parked or self._is_late(row.run_id, now):
                return True
        return False

    def _is_late(self, run_id: str, now: float) -> bool:
        run = self.runs.get(run_id)
        return run is not None and run.deadline_at is not None and run.deadline_at <= now

    def reserve(self, *, agent_id: str, op_id: str) -> None:
        """Keep a place in an inbox for the message `op_id`, so that its commit cannot fail for capacity."""
        self._agent(agent_id)
        if op_id in self.ops:
            return  # it is there already; its sender only does not know
        self._check_room(agent_id, op_id)
        self._reserved.setdefault(agent_id, {})[op_id] = None

    def _check_room(self, agent_id: str, op_id: str) -> None:
        held = self._reserved.get(agent_id, {})
        if op_id not in held and len(held) + len(self.inboxes.get(agent_id, ())) >= INBOX_BOUND:
            raise InboxFull(f"{self.agents[agent_id].name} has {INBOX_BOUND} messages waiting: try again later",
                            agent_id=agent_id)

    def list_blocks(self) -> list[dict[str, Any]]:
        """The shared blocks: id, label, version, seq of the newest version."""
        return [asdict(entry) for entry in self.blocks.values()]

    def open_waits(self) -> list[list[str]]:
        """Who waits for whom: [agent, conversation, op_id, target agent, target conversation]."""
        return [[*waiting, op_id, *target] for waiting, op_id, target in self.waits.edges()]

    def statistics(self) -> dict[str, int]:
        """Counts: rows, agents, blocks, runs, waiting (inbox rows), open_turns, dead_letters."""
        return {
            "rows": self.last_seq, "agents": len(self.agents), "blocks": len(self.blocks), "runs": len(self.runs),
            "waiting": sum(map(len, self.inboxes.values())), "open_turns": sum(map(len, self.turns.values())),
            "dead_letters": len(self.dead_letters),
        }

    def _described(self, entry: AgentEntry) -> dict[str, Any]:
        return {
            "id": entry.id, "name": entry.name, "tags": list(entry.tags), "agent_type": entry.agent_type,
            "resident": entry.resident, "created_at": entry.created_at, "last_at": entry.last_at,
            "waiting": len(self.inboxes.get(entry.id, ())),
            "turns": [{"conversation_id": c, "run_id": t.run_id, "parked": t.parked, "due_at": t.due_at}
                      for c, t in self.turns.get(entry.id, {}).items()],
        }

    def _agent(self, agent_id: str) -> AgentEntry:
        entry = self.agents.get(agent_id)
        if entry is None:
            raise AgentNotFound(f"there is no agent {agent_id!r}", agent_id=agent_id)
        return entry

    def _unreserve(self, agent_id: str, op_id: str) -> None:
        held = self._reserved.get(agent_id)
        if held is not None:
            held.pop(op_id, None)
            if not held:
                del self._reserved[agent_id]


QUESTIONS: dict[str, Any] = {
    "agent": Knowledge.describe_agent,
    "agents": Knowledge.list_agents,
    "find": Knowledge.find_agent,
    "run": Knowledge.run,
    "runs": Knowledge.list_runs,
    "attention": Knowledge.attention,
    "late": Knowledge.late,
    "has_work": Knowledge.has_work,
    "reserve": Knowledge.reserve,
    "blocks": Knowledge.list_blocks,
    "waits": Knowledge.open_waits,
    "statistics": Knowledge.statistics,
}
