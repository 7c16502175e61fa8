"""When a world has come to rest: the whole journal is read, and every promise is checked against it.

Read is what a client could read, after a last loss of power: what was acknowledged must be in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from repertory.actors.directory import PULL_S
from repertory.actors.handles import TRY_S
from repertory.memory.journal import Row, Store, pack_data
from repertory.messages import TERMINAL, Message, unpack

from .auditor import Auditor, Refusal, unpaired
from .ledger import Edited, Ledger
from .script import find

#: seconds (virtual) by which a run may end after its deadline, or after everything healed: a call whose answer was lost
#: is made again after a while, and then the directory looks around once more
GRACE_S = TRY_S + 2 * PULL_S
#: what an agent gives a run that names no deadline; the simulated agents' spec says so
DEFAULT_DEADLINE_S = 90.0


async def whole_journal(store: Store, agents: Iterable[str], blocks: Iterable[str]) -> list[Row]:
    """All rows of all streams, by seq."""
    streams = ["registry", "author:directory", "author:coordinator", "store"]
    for agent_id in agents:
        streams += [f"agent:{agent_id}", f"inbox:{agent_id}", f"snapshot:{agent_id}"]
    streams += [f"block:{block_id}" for block_id in blocks]
    rows: list[Row] = []
    for stream in streams:
        after = 0
        while page := await store.read(stream, after=after, limit=500):
            rows += page
            after = page[-1].seq
    return sorted(rows, key=lambda row: row.seq)


class Postmortem:
    """The checks, on the whole journal in order."""

    def __init__(self, rows: list[Row], ledger: Ledger, auditor: Auditor, *, healed_at: float) -> None:
        """`healed_at`: seconds since 1970 from which nothing went wrong any more."""
        self._rows = rows
        self._ledger = ledger
        self._auditor = auditor
        self._must = auditor.must
        self._healed_at = healed_at

    def check(self) -> None:
        """All of it; the first violation is reported to the auditor."""
        self._durable()
        self._fenced()
        self._circles()
        messages = self._messages()
        self._runs(messages)
        self._order(messages)
        histories = self._histories()
        self._effects(histories)
        self._blocks()

    # --- P1, P3 -------------------------------------------------------------------------------------------------------

    def _durable(self) -> None:
        by_seq = {row.seq: row for row in self._rows}
        self._must(len(by_seq) == len(self._rows), "P1", "a row is in the journal twice")
        seqs = sorted(by_seq)
        self._must(seqs == list(range(1, len(seqs) + 1)), "P1", "the journal has gaps: %s",
                   [seq for seq, following in pairwise(seqs) if following != seq + 1][:5])
        for op_id, (commit, done) in self._auditor.acknowledged.items():
            for offset, new in enumerate(commit.rows):
                row = by_seq.get(done.first + offset)
                same = row is not None and (row.op_id, row.stream, row.kind) == (op_id, new.stream, new.kind) \
                    and pack_data(row.data) == pack_data(new.data)
                self._must(same, "P1", "row %d (%s in %s) was acknowledged to %s and is not there: %s",
                           done.first + offset, new.kind, new.stream, op_id, row)

    def _fenced(self) -> None:
        epochs: dict[str, int] = {}
        for row in self._rows:
            newest = epochs.get(row.author, 0)
            if row.kind == "activated":
                self._must(row.epoch == newest + 1, "P3", "%s claimed epoch %d after %d", row.author, row.epoch, newest)
                epochs[row.author] = row.epoch
            elif row.epoch:
                self._must(row.epoch == newest, "P3", "row %d of %s has epoch %d, while %d was the newest", row.seq,
                           row.author, row.epoch, newest)

    # --- P6 -----------------------------------------------------------------------------------------------------------

    def _circles(self) -> None:
        refusals = sorted(self._auditor.refusals, key=lambda refusal: refusal.at_seq)
        waits: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
        for row in self._rows:
            while refusals and refusals[0].at_seq < row.seq:
                self._rightly(refusals.pop(0), waits)
            _follow(waits, row)
            if row.kind == "wait":
                node = (row.stream.removeprefix("agent:"), row.data["conversation_id"])
                circle = _reaches(waits, node, node)
                self._must(not circle, "P6", "row %d closes a circle of agents that wait for each other: %s", row.seq,
                           " -> ".join(f"{a[:10]}/{c}" for a, c in circle))
        for refusal in refusals:
            self._rightly(refusal, waits)

    def _rightly(self, refusal: Refusal, waits: dict[tuple[str, str], dict[str, tuple[str, str]]]) -> None:
        row = next(row for row in refusal.commit.rows if row.kind == "wait")
        node = (row.stream.removeprefix("agent:"), row.data["conversation_id"])
        for target in row.data["targets"]:
            if target["op_id"] in refusal.error.data.get("refused", ()):
                goal = (target["agent_id"], target["conversation_id"])
                self._must(goal == node or bool(_reaches(waits, goal, node)), "P6",
                           "%s/%s may not wait for %s/%s, though that closes no circle", *node, *goal)

    # --- P1, P5: messages and their runs ------------------------------------------------------------------------------

    def _messages(self) -> dict[str, Row]:
        """run_id -> its message row; every acknowledged message is there exactly once."""
        found: dict[str, Row] = {}
        for row in self._rows:
            if row.kind == "message":
                run_id = row.data["run_id"]
                self._must(run_id not in found, "P1", "run %s has two messages", run_id)
                found[run_id] = row
        for sent in self._ledger.sent:
            if sent.acknowledged:
                self._must(sent.run_id in found, "P1", "%s was acknowledged and is in no inbox", sent.token)
        return found

    def _runs(self, messages: dict[str, Row]) -> None:
        ended: dict[str, Row] = {}
        consumed: Counter[tuple[str, int]] = Counter()
        for row in self._rows:
            if row.stream.startswith("agent:"):
                for seq in row.data.get("consumed", ()):
                    consumed[row.stream.removeprefix("agent:"), seq] += 1
                if row.data.get("status") in TERMINAL:
                    self._must(row.data["run_id"] not in ended, "P1", "run %s ended twice", row.data["run_id"])
                    ended[row.data["run_id"]] = row
        for run_id, row in messages.items():
            agent_id = row.stream.removeprefix("inbox:")
            self._must(consumed[agent_id, row.seq] == 1, "P1", "message %s (row %d) of %s was taken %d times", run_id,
                       row.seq, agent_id, consumed[agent_id, row.seq])
            self._must(run_id in ended, "P5", "run %s of %s has not ended", run_id, agent_id)
            if run_id in ended:
                due = row.at + row.data.get("within_s", DEFAULT_DEADLINE_S)
                late_s = ended[run_id].at - max(due, self._healed_at)
                self._must(late_s < GRACE_S, "P5", "run %s ended %.1f s after its deadline", run_id, late_s)
        for sent in self._ledger.sent:
            end = ended.get(sent.run_id)
            if sent.outcome is not None and end is not None:
                self._must(sent.outcome.status == end.data["status"], "P1", "%s was told %s, the journal says %s",
                           sent.token, sent.outcome.status, end.data["status"])

    def _order(self, messages: dict[str, Row]) -> None:
        """What one person sent to one conversation, each after the one before was acknowledged, was taken in order.

        What was cancelled or late before its turn came was not taken.
        """
        taken: dict[str, int] = {}
        for row in self._rows:
            if row.kind != "unbegun" and row.stream.startswith("agent:"):
                for seq in row.data.get("consumed", ()):
                    taken.setdefault(f"{row.stream.removeprefix('agent:')}/{seq}", row.seq)
        last: dict[tuple[int, str, str], tuple[float, str, int]] = {}
        for sent in sorted((s for s in self._ledger.sent if s.acknowledged), key=lambda s: s.at):
            row = messages.get(sent.run_id)
            if row is None or f"{sent.agent_id}/{row.seq}" not in taken:
                continue
            place = taken[f"{sent.agent_id}/{row.seq}"]
            key = (sent.person, sent.agent_id, sent.conversation_id)
            if key in last and last[key][0] < sent.at:
                self._must(place >= last[key][2], "P1", "%s was taken before %s, though it was sent after it",
                           sent.token, last[key][1])
            if key not in last or sent.acknowledged_at > last[key][0]:
                last[key] = (sent.acknowledged_at, sent.token, place)

    # --- P2: histories ------------------------------------------------------------------------------------------------

    def _histories(self) -> dict[str, list[Message]]:
        """agent -> all its messages, in order; each conversation must be one that a model accepts."""
        threads: dict[tuple[str, str], list[Message]] = {}
        for row in self._rows:
            if row.stream.startswith("agent:") and row.kind in ("response", "step"):
                thread = threads.setdefault((row.stream.removeprefix("agent:"), row.data["conversation_id"]), [])
                thread += [unpack(Message, message) for message in row.data.get("messages", ())]
        merged: dict[str, list[Message]] = {}
        for (agent_id, conversation_id), thread in threads.items():
            problem = unpaired(tuple(thread))
            self._must(not problem, "P2", "the history of %s/%s is not valid: %s", agent_id[:12], conversation_id,
                       problem)
            ids = Counter(message.id for message in thread)
            twice = [message_id for message_id, count in ids.items() if count > 1]
            self._must(not twice, "P1", "%s/%s holds messages twice: %s", agent_id[:12], conversation_id, twice)
            merged.setdefault(agent_id, []).extend(thread)
        return merged

    def _effects(self, histories: dict[str, list[Message]]) -> None:
        """Calls that the histories say succeeded took effect once, those that they say failed did not."""
        posted: Counter[tuple[str, str]] = Counter()
        asked: Counter[tuple[str, str]] = Counter()
        for history in histories.values():
            for call, result in _calls(history):
                target = call.arguments.get("other_agent_id", "")
                order = find(str(call.arguments.get("message", "")))
                if order is None:
                    continue
                if call.name == "send_message_to_agent_async" and not result.failed:
                    posted[target, order.token] += 1
                if call.name == "send_message_to_agent_and_wait_for_reply":
                    asked[target, order.token] += 1
                    self._answers(order.token, result)
        arrived: Counter[tuple[str, str]] = Counter()
        for row in self._rows:
            if row.kind == "message" and (row.data.get("sender") or {}).get("kind") == "agent":
                order = find(row.data["text"])
                if order is not None:
                    arrived[row.stream.removeprefix("inbox:"), order.token] += 1
        for key, count in posted.items():
            most = count + asked[key]
            self._must(count <= arrived[key] <= most, "P1", "%s was sent %d times to %s and arrived %d times", key[1],
                       count, key[0], arrived[key])

    def _answers(self, token: str, result: Message) -> None:
        if "re:" in result.text:
            self._must(f"re:{token}" in result.text or "re:nothing" in result.text, "P1",
                       "question %s got another one's answer: %s", token, result.text)

    # --- P4 -----------------------------------------------------------------------------------------------------------

    def _blocks(self) -> None:
        versions: dict[str, list[Row]] = {}
        for row in self._rows:
            if row.stream.startswith("block:") and row.kind == "version":
                versions.setdefault(row.stream.removeprefix("block:"), []).append(row)
        for block_id, rows in versions.items():
            self._must([r.data["version"] for r in rows] == list(range(1, len(rows) + 1)), "P4",
                       "the versions of %s have gaps: %s", block_id, [r.data["version"] for r in rows])
            self._lines(block_id, rows)
        self._linear(versions)

    def _lines(self, block_id: str, rows: list[Row]) -> None:
        final = rows[-1].data["value"]
        edits = [e for e in self._ledger.edited if e.block_id == block_id and not e.reading]
        gone = {e.gone for e in edits if e.gone and not e.refused}
        for edited in edits:
            count = final.count(edited.line)
            if edited.version and edited.line not in gone:
                self._must(count == 1, "P4", "the acknowledged line %s (version %d) is in the block %d times: %r",
                           edited.line, edited.version, count, final)
            if edited.refused:
                self._must(count == 0, "P4", "the refused line %s is in the block", edited.line)
            self._must(count <= 1, "P4", "the line %s is in the block %d times", edited.line, count)

    def _linear(self, versions: dict[str, list[Row]]) -> None:
        """Who began after another one had ended sees at least its version."""
        for block_id in versions:
            known = [e for e in self._ledger.edited if e.block_id == block_id and e.version]
            for later in known:
                for earlier in known:
                    if earlier.ended < later.began:
                        holds = later.version >= earlier.version if later.reading else later.version > earlier.version
                        self._must(holds or later is earlier, "P4", "%s saw version %d after %s had seen version %d",
                                   _named(later), later.version, _named(earlier), earlier.version)


def _named(edited: Edited) -> str:
    return "a reader" if edited.reading else edited.op_id


def _calls(history: list[Message]) -> Iterable[tuple[Any, Message]]:
    """Each call of a history with its result."""
    open_calls: list[Any] = []
    for message in history:
        if message.role == "assistant":
            open_calls = list(message.tool_calls)
        elif message.role == "tool" and open_calls:
            call = next((c for c in open_calls if c.id == message.tool_call_id), open_calls[0])
            open_calls.remove(call)
            yield call, message


def _follow(waits: dict[tuple[str, str], dict[str, tuple[str, str]]], row: Row) -> None:
    """The open waits after `row`."""
    if row.kind == "wait":
        node = (row.stream.removeprefix("agent:"), row.data["conversation_id"])
        edges = waits.setdefault(node, {})
        for target in row.data["targets"]:
            if not target.get("refused"):
                edges[target["op_id"]] = (target["agent_id"], target["conversation_id"])
    elif row.kind == "reply":
        node = (row.stream.removeprefix("inbox:"), row.data["conversation_id"])
        waits.get(node, {}).pop(row.data["in_reply_to"], None)
    elif row.kind == "step":
        waits.pop((row.stream.removeprefix("agent:"), row.data["conversation_id"]), None)


def _reaches(waits: dict[tuple[str, str], dict[str, tuple[str, str]]], start: tuple[str, str],
             goal: tuple[str, str]) -> list[tuple[str, str]]:
    """A path along open waits from `start` (at least one edge) to `goal`; empty if there is none."""
    paths = [[start]]
    seen: set[tuple[str, str]] = set()
    while paths:
        path = paths.pop()
        for neighbour in waits.get(path[-1], {}).values():
            if neighbour == goal:
                return [*path, goal]
            if neighbour not in seen:
                seen.add(neighbour)
                paths.append([*path, neighbour])
    return []
