"""Looks on while a world runs: what the store acknowledged, what models were asked, what people were told.

It trusts nothing else. Whatever needs the whole story is checked when the run is over (`postmortem`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from repertory.errors import WaitCycle
from repertory.llm.protocol import ModelRequest
from repertory.memory.journal import CLAIM, Commit, Committed
from repertory.messages import Message

from .ledger import Ledger, Sent
from .trace import Trace, Violation


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A wait that was refused as a circle, and the last row that was acknowledged before it."""

    commit: Commit
    error: WaitCycle
    #: the newest seq that the journal had when it was refused
    at_seq: int


class Auditor:
    """The eyes of a world. `fail` is called with the first violation."""

    def __init__(self, ledger: Ledger, trace: Trace, fail: Callable[[Violation], None]) -> None:
        self._ledger = ledger
        self._trace = trace
        self._fail = fail
        #: op_id -> what was acknowledged for it
        self.acknowledged: dict[str, tuple[Commit, Committed]] = {}
        self._op_of: dict[int, str] = {}
        #: author -> (seq of its newest claim, epoch)
        self._claims: dict[str, tuple[int, int]] = {}
        self._newest: dict[str, tuple[int, int]] = {}
        self._consumed: dict[str, dict[int, str]] = {}
        self._versions: dict[str, dict[int, int]] = {}
        self.refusals: list[Refusal] = []
        self.requests = 0
        self.served: Counter[str] = Counter()

    def must(self, holds: bool, promise: str, what: str, *values: Any) -> None:
        """A violation unless `holds`."""
        if not holds:
            self._fail(Violation(promise, what % values if values else what))

    # --- the store ----------------------------------------------------------------------------------------------------

    def committed(self, commit: Commit, done: Committed) -> None:
        """The store has acknowledged a commit."""
        known = self.acknowledged.get(commit.op_id)
        if known is not None:
            before = known[1]
            self.must((before.first, before.last) == (done.first, done.last), "P1",
                      "%s was acknowledged as rows %d-%d and then as rows %d-%d",
                      commit.op_id, before.first, before.last, done.first, done.last)
            return
        self.acknowledged[commit.op_id] = (commit, done)
        for seq in range(done.first, done.last + 1):
            other = self._op_of.setdefault(seq, commit.op_id)
            self.must(other == commit.op_id, "P1", "row %d was acknowledged to %s and to %s", seq, other, commit.op_id)
        self._trace.note("store", "%s rows %d-%d of %s: %s", "replays" if done.replayed else "keeps", done.first,
                         done.last, commit.author, _kinds(commit))
        self._check_fencing(commit, done)
        self._check_rows(commit, done)

    def _check_fencing(self, commit: Commit, done: Committed) -> None:
        author = commit.author
        claim = self._claims.get(author)
        if commit.epoch == CLAIM:
            newest = self._newest.get(author)
            late = newest is not None and newest[0] > done.last and newest[1] < done.epoch
            self.must(not late, "P3", "%s wrote row %s under an epoch older than %d, which was claimed before", author,
                      newest and newest[0], done.epoch)
            if claim is None or done.epoch > claim[1]:
                self._claims[author] = (done.last, done.epoch)
            return
        if done.epoch == 0:
            return
        stale = claim is not None and done.epoch < claim[1] and done.first > claim[0]
        self.must(not stale, "P3", "%s wrote rows %d-%d under epoch %d, though it had claimed epoch %s in row %s",
                  author, done.first, done.last, done.epoch, claim and claim[1], claim and claim[0])
        if author not in self._newest or done.last > self._newest[author][0]:
            self._newest[author] = (done.last, done.epoch)

    def _check_rows(self, commit: Commit, done: Committed) -> None:
        for offset, row in enumerate(commit.rows):
            seq = done.first + offset
            if row.stream.startswith("agent:"):
                consumed = self._consumed.setdefault(row.stream, {})
                for taken in row.data.get("consumed", ()):
                    mark = f"{row.kind} {seq}"
                    other = consumed.setdefault(taken, mark)
                    self.must(other == mark, "P1", "%s took row %d of its inbox twice: in %s and in %s", row.stream,
                              taken, other, mark)
            elif row.stream.startswith("block:") and row.kind == "version":
                versions = self._versions.setdefault(row.stream, {})
                number = row.data["version"]
                self.must(number not in versions, "P4", "%s has two versions %d", row.stream, number)
                versions[number] = seq

    def refused(self, commit: Commit, error: WaitCycle, at_seq: int) -> None:
        """The store refused a wait because it would close a circle."""
        self._trace.note("store", "refuses %s: %s", commit.op_id, error.message)
        self.refusals.append(Refusal(commit=commit, error=error, at_seq=at_seq))

    # --- models -------------------------------------------------------------------------------------------------------

    def asked(self, request: ModelRequest, tokens: int, window: int) -> None:
        """A model is asked: is it a request that every provider takes?"""
        self.requests += 1
        who = request.agent_id[:12]
        self.must(tokens <= window, "P7", "a request of %s has %d tokens, the window %d", who, tokens, window)
        problem = invalid(request.messages)
        self.must(not problem, "P2", "a request of %s is not valid: %s", who, problem)

    # --- people -------------------------------------------------------------------------------------------------------

    def answered(self, sent: Sent) -> None:
        """Somebody got the outcome of a message."""
        outcome = sent.outcome
        assert outcome is not None
        self.must(outcome.done, "P5", "%s was answered by a run that has not ended", sent.token)
        self.must((outcome.run_id, outcome.agent_id) == (sent.run_id, sent.agent_id), "P1",
                  "%s was answered by run %s of %s", sent.token, outcome.run_id, outcome.agent_id)
        wrong = [t for t in outcome.texts if t.startswith("re:") and t not in (f"re:{sent.token}", "re:nothing")]
        self.must(not wrong, "P1", "%s got an answer to something else: %s", sent.token, wrong)
        if sent.calm and not sent.cancelled and sent.deadline_s is None:
            self.must(outcome.status == "completed", "P5", "%s failed though nothing went wrong: %s %s", sent.token,
                      outcome.stop_reason, outcome.error)


def _kinds(commit: Commit) -> str:
    return ", ".join(f"{row.kind} in {row.stream[:18]}" for row in commit.rows)


def invalid(messages: tuple[Message, ...]) -> str:
    """What is wrong with a request's messages; empty if nothing is.

    A system message comes first; a person or a tool has the word before the model; each tool call is answered right
    behind it, once, and nothing else is an answer.
    """
    if not messages or messages[0].role != "system":
        return "it does not begin with a system message"
    spoken = [m for m in messages[1:] if m.role != "system"]
    if spoken and spoken[0].role != "user":
        return f"the conversation begins with role {spoken[0].role}"
    return unpaired(tuple(messages))


def unpaired(messages: tuple[Message, ...]) -> str:
    """Which tool call has no result right behind it, or which result no call; empty if all is well."""
    open_calls: list[str] = []
    for place, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                return f"message {place} is the result of {message.tool_call_id!r}, which nobody called"
            open_calls.remove(message.tool_call_id)
            continue
        if open_calls:
            return f"message {place} ({message.role}) comes before the results of {', '.join(open_calls)}"
        if message.role == "assistant":
            open_calls = [call.id for call in message.tool_calls]
    return f"the calls {', '.join(open_calls)} have no results" if open_calls else ""
