"""What the store knows without looking at a disk: a fold over the journal's rows.

`check` decides whether a commit may be written (fencing, expectations, retries, circles of waiting agents);
`apply` takes the rows that were. Both are plain Python on plain data, so the durable store, the one in memory and the
simulated one decide alike. The index can be packed into a checkpoint and read back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from repertory.errors import (
    CommitRefused,
    Fenced,
    NameTaken,
    OpConflict,
    StaleExpectation,
    WaitCycle,
)
from repertory.memory import rows as kinds
from repertory.memory.entries import AgentEntry, BlockEntry, OpenTurn, RunEntry, Waiting
from repertory.memory.journal import CLAIM, UNFENCED, Commit, Committed, NewRow, Row, digest
from repertory.memory.questions import INBOX_BOUND, QUESTIONS, Knowledge
from repertory.memory.waits import Node
from repertory.messages import TERMINAL

#: op_ids and ended runs kept in memory; older ones are looked up in the journal (DESIGN 3)
REMEMBERED = 100_000


class JournalIndex(Knowledge):
    """The fold of the journal that answers in microseconds."""

    # --- may it be written? -----------------------------------------------------------------------------------------

    def check(self, commit: Commit) -> Committed | None:
        """None if `commit` may be written; its original result if it was before. Raises CommitRefused."""
        known = self.ops.get(commit.op_id)
        if known is not None:
            return self._replay(commit, known)
        self._check_author(commit)
        for stream, expected in commit.expect.items():
            if self.heads.get(stream, 0) != expected:
                raise StaleExpectation(
                    f"{stream} stands at {self.heads.get(stream, 0)}, not at {expected}: read it again",
                    stream=stream, expected=expected, actual=self.heads.get(stream, 0),
                )
        in_step = any(row.kind == "step" for row in commit.rows)
        for row in commit.rows:
            self._check_row(row)
            if row.kind == "message":
                self._check_message(row, in_step)
                if commit.epoch == UNFENCED:  # from outside: nobody has kept a place for it
                    self._check_room(row.stream.removeprefix("inbox:"), commit.op_id)
        return None

    def _replay(self, commit: Commit, known: tuple[int, int, int, int, float]) -> Committed:
        mark, first, count, epoch, at = known
        if mark != digest(commit.author, commit.rows):
            raise OpConflict(f"op_id {commit.op_id} was used before with another payload", op_id=commit.op_id)
        return Committed(first=first, last=first + count - 1, epoch=epoch, at=at, replayed=True)

    def _check_author(self, commit: Commit) -> None:
        if not commit.rows:
            raise CommitRefused("a commit needs at least one row")
        author, newest = commit.author, self.epochs.get(commit.author, 0)
        for row in commit.rows:
            if (owner := kinds.owner(row.stream)) not in (None, author):
                raise CommitRefused(f"{author} may not write {row.stream}, only {owner} may")
        if commit.epoch == CLAIM:
            if commit.rows[0].kind != "activated" or commit.rows[0].stream != kinds.claim_stream(author):
                raise CommitRefused("a new epoch is claimed with an `activated` row first")
            if author.startswith("agent:"):
                self._agent(author.removeprefix("agent:"))
        elif commit.epoch == UNFENCED:
            if newest or any(kinds.owner(row.stream) for row in commit.rows):
                raise Fenced(f"{author} must claim an epoch before it writes", author=author, newest=newest)
        elif commit.epoch != newest:
            raise Fenced(
                f"{author} has epoch {newest}; epoch {commit.epoch} is over", author=author, newest=newest
            )

    def _check_row(self, row: NewRow) -> None:
        if row.kind == "wait":
            self._check_wait(row)
        elif row.kind == "agent_created" and row.data["name"] in self.names:
            raise NameTaken(f"there is an agent named {row.data['name']!r} already: choose another name, or use it",
                            name=row.data["name"], agent_id=self.names[row.data["name"]])
        elif row.kind == "agent_changed":
            self._agent(row.data["id"])
            taken = self.names.get(row.data.get("name", ""))
            if taken not in (None, row.data["id"]):
                raise NameTaken(f"there is an agent named {row.data['name']!r} already", agent_id=taken)
        elif row.kind == "agent_deleted":
            self._agent(row.data["id"])

    def _check_message(self, row: NewRow, in_step: bool) -> None:
        # a step's messages were admitted when they were sent, and a commit never fails for what happened since
        if not in_step:
            self._agent(row.stream.removeprefix("inbox:"))
        if row.data["run_id"] in self.runs:
            raise OpConflict(f"run {row.data['run_id']} was begun by another message", run_id=row.data["run_id"])

    def _check_wait(self, row: NewRow) -> None:
        waiting: Node = (row.stream.removeprefix("agent:"), row.data["conversation_id"])
        refused: list[str] = []
        members: list[str] = []
        for target in _asked(row):
            circle = self.waits.circle(waiting, (target["agent_id"], target["conversation_id"]))
            if circle:
                refused.append(target["op_id"])
                members.extend(node[0] for node in circle if node[0] not in members)
        if refused:
            names = ", ".join(self.agents[m].name if m in self.agents else m for m in members)
            raise WaitCycle(
                f"{names} would wait for each other for ever: put the question in your reply, or send it async",
                members=members, refused=refused,
            )

    # --- it was written ----------------------------------------------------------------------------------------------

    def apply(self, rows: Sequence[Row]) -> None:
        """Take rows that were written: whole commits, in the order of their seqs."""
        start = 0
        for end in range(1, len(rows) + 1):
            if end == len(rows) or rows[end].op_id != rows[start].op_id:
                self._apply_commit(rows[start:end])
                start = end

    def _apply_commit(self, rows: Sequence[Row]) -> None:
        first = rows[0]
        self.ops[first.op_id] = (digest(first.author, tuple(rows)), first.seq, len(rows), first.epoch, first.at)
        if len(self.ops) > REMEMBERED:
            self.ops.popitem(last=False)
        for row in rows:
            self.last_seq = row.seq
            self.heads[row.stream] = row.seq
            if row.kind == "activated":
                self.epochs[row.author] = row.epoch
            handler = _HANDLERS.get((row.stream.partition(":")[0], row.kind))
            if handler is not None:
                handler(self, row)
            if row.stream.startswith("agent:"):
                self._event(row)

    def _event(self, row: Row) -> None:
        agent_id = row.stream.removeprefix("agent:")
        if (entry := self.agents.get(agent_id)) is not None:
            entry.events.append(row.seq)
            entry.last_at = row.at
            if "spec" in row.data:
                entry.deadline_s = row.data["spec"].get("deadline_s", entry.deadline_s)
        for seq in row.data.get("consumed", ()):
            inbox = self.inboxes.get(agent_id, {})
            inbox.pop(seq, None)
            if not inbox:
                self.inboxes.pop(agent_id, None)

    def _agent_created(self, row: Row) -> None:
        data, spec = row.data, row.data.get("spec", {})
        entry = AgentEntry(
            id=data["id"], name=data["name"], tags=tuple(data.get("tags", ())), created_seq=row.seq,
            created_at=row.at, agent_type=spec.get("agent_type", ""), resident=bool(spec.get("resident")),
            last_at=row.at, deadline_s=spec.get("deadline_s", 600.0),
        )
        self.agents[entry.id] = entry
        self.names[entry.name] = entry.id
        for tag in entry.tags:
            self.tagged.setdefault(tag, {})[entry.id] = None

    def _agent_changed(self, row: Row) -> None:
        entry = self.agents.get(row.data["id"])
        if entry is None:  # its first row was lost with a damaged disk
            return
        if "name" in row.data:
            self.names.pop(entry.name, None)
            entry.name = row.data["name"]
            self.names[entry.name] = entry.id
        if "tags" in row.data:
            self._untag(entry)
            entry.tags = tuple(row.data["tags"])
            for tag in entry.tags:
                self.tagged.setdefault(tag, {})[entry.id] = None

    def _agent_deleted(self, row: Row) -> None:
        entry = self.agents.pop(row.data["id"], None)
        if entry is None:
            return
        self.names.pop(entry.name, None)
        self._untag(entry)
        self.dead_letters.extend(self.inboxes.pop(entry.id, {}))
        for conversation_id in self.turns.pop(entry.id, {}):
            self.waits.clear((entry.id, conversation_id))
        for run in self.runs.values():
            if run.agent_id == entry.id and run.status not in TERMINAL:
                run.status, run.ended_seq = "cancelled", row.seq

    def _untag(self, entry: AgentEntry) -> None:
        for tag in entry.tags:
            self.tagged[tag].pop(entry.id, None)
            if not self.tagged[tag]:
                del self.tagged[tag]

    def _message(self, row: Row) -> None:
        agent_id, data = row.stream.removeprefix("inbox:"), row.data
        conversation_id = data.get("conversation_id", "default")
        self._unreserve(agent_id, row.op_id)
        entry = self.agents.get(agent_id)
        within_s = data.get("within_s") or (entry.deadline_s if entry is not None else 0.0)
        run = RunEntry(run_id=data["run_id"], agent_id=agent_id, conversation_id=conversation_id, seq=row.seq,
                       deadline_at=row.at + within_s)
        self.runs[run.run_id] = run
        self._forget_runs()
        if entry is None:
            self.dead_letters.append(row.seq)
            run.status, run.ended_seq = "failed", row.seq
            return
        self.inboxes.setdefault(agent_id, {})[row.seq] = Waiting("message", conversation_id, run.run_id)

    def _reply(self, row: Row) -> None:
        agent_id, conversation_id = row.stream.removeprefix("inbox:"), row.data["conversation_id"]
        self.waits.answered((agent_id, conversation_id), row.data["in_reply_to"])
        if agent_id in self.agents:
            self.inboxes.setdefault(agent_id, {})[row.seq] = Waiting("reply", conversation_id)

    def _cancel(self, row: Row) -> None:
        agent_id = row.stream.removeprefix("inbox:")
        if agent_id in self.agents:
            run = self.runs.get(row.data["run_id"])
            conversation_id = run.conversation_id if run else "default"
            self.inboxes.setdefault(agent_id, {})[row.seq] = Waiting("cancel", conversation_id, row.data["run_id"])

    def _response(self, row: Row) -> None:
        agent_id, data = row.stream.removeprefix("agent:"), row.data
        self.turns.setdefault(agent_id, {})[data["conversation_id"]] = OpenTurn(data["run_id"])
        if (run := self.runs.get(data["run_id"])) is not None:
            run.status = "running"

    def _wait(self, row: Row) -> None:
        agent_id, data = row.stream.removeprefix("agent:"), row.data
        conversation_id = data["conversation_id"]
        turn = OpenTurn(data["run_id"], parked=True, due_at=data.get("due_at"))
        self.turns.setdefault(agent_id, {})[conversation_id] = turn
        for target in _asked(row):
            self.waits.add((agent_id, conversation_id), target["op_id"],
                           (target["agent_id"], target["conversation_id"]))

    def _step(self, row: Row) -> None:
        agent_id, data = row.stream.removeprefix("agent:"), row.data
        conversation_id, status = data["conversation_id"], data["status"]
        self.waits.clear((agent_id, conversation_id))
        if (run := self.runs.get(data["run_id"])) is not None and run.status not in TERMINAL:
            run.status = status
            run.ended_seq = row.seq if status in TERMINAL else 0
        turns = self.turns.setdefault(agent_id, {})
        if status in TERMINAL:
            turns.pop(conversation_id, None)
        else:
            turns[conversation_id] = OpenTurn(data["run_id"])
        if not turns:
            del self.turns[agent_id]

    def _unbegun(self, row: Row) -> None:
        if (run := self.runs.get(row.data["run_id"])) is not None and run.status not in TERMINAL:
            run.status, run.ended_seq = row.data["status"], row.seq

    def _snapshot(self, row: Row) -> None:
        entry = self.agents.get(row.stream.removeprefix("snapshot:"))
        if entry is not None:
            entry.snapshot_seq = row.seq
            entry.events = [seq for seq in entry.events if seq > row.data["upto"]]

    def _version(self, row: Row) -> None:
        block_id = row.stream.removeprefix("block:")
        self.blocks[block_id] = BlockEntry(block_id, row.data["label"], row.data["version"], row.seq)

    def _block_deleted(self, row: Row) -> None:
        self.blocks.pop(row.stream.removeprefix("block:"), None)

    def _forget_runs(self) -> None:
        while len(self.runs) > REMEMBERED:
            run_id, run = next(iter(self.runs.items()))
            self.runs.move_to_end(run_id)
            if run.status in TERMINAL:
                del self.runs[run_id]
            else:
                return


def _asked(row: NewRow | Row) -> list[dict[str, Any]]:
    """The questions of a `wait` row, without those that were refused and are only remembered there."""
    return [target for target in row.data["targets"] if not target.get("refused")]


_HANDLERS: dict[tuple[str, str], Any] = {
    ("registry", "agent_created"): JournalIndex._agent_created,
    ("registry", "agent_changed"): JournalIndex._agent_changed,
    ("registry", "agent_deleted"): JournalIndex._agent_deleted,
    ("inbox", "message"): JournalIndex._message,
    ("inbox", "reply"): JournalIndex._reply,
    ("inbox", "cancel"): JournalIndex._cancel,
    ("agent", "response"): JournalIndex._response,
    ("agent", "wait"): JournalIndex._wait,
    ("agent", "step"): JournalIndex._step,
    ("agent", "unbegun"): JournalIndex._unbegun,
    ("snapshot", "snapshot"): JournalIndex._snapshot,
    ("block", "version"): JournalIndex._version,
    ("block", "deleted"): JournalIndex._block_deleted,
}

__all__ = ["INBOX_BOUND", "QUESTIONS", "REMEMBERED", "JournalIndex"]
