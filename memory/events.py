"""The rows that an agent writes: the counterpart of `memory.fold`.

Each function gives one `NewRow`; keys that say nothing are left out. `consumed` names the inbox rows that the row
settles, so that a message is done exactly once: what it says and that it was said are one commit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from repertory.memory import rows as kinds
from repertory.memory.journal import NewRow
from repertory.memory.state import AgentState, CallResult, Compiled, OpenQuestion, Turn
from repertory.messages import Envelope, Message, Outcome, ReplyTo, Usage, pack


def response(agent_id: str, turn: Turn, *, consumed: Iterable[int], messages: Iterable[Message], usage: Usage | None,
             shown: Compiled | None) -> NewRow:
    """The model has answered; its calls come next. `messages`: what it was asked in this step, and its answer."""
    return NewRow(stream=kinds.agent_stream(agent_id), kind="response", data={
        **_of_turn(turn), "consumed": list(consumed), "messages": [pack(message) for message in messages],
        **_optional(usage=usage, compiled=shown),
    })


def wait(agent_id: str, turn: Turn, questions: Iterable[OpenQuestion], results: dict[str, CallResult],
         due_at: float | None) -> NewRow:
    """The turn rests until others have answered. `results`: of the calls that must not be run again."""
    data = {**_of_turn(turn), "targets": [pack(question) for question in questions], "due_at": due_at}
    if results:
        data["results"] = {index: pack(result) for index, result in results.items()}
    return NewRow(stream=kinds.agent_stream(agent_id), kind="wait", data=data)


def step(agent_id: str, turn: Turn, *, consumed: Iterable[int], messages: Iterable[Message], more: dict[str, Any],
         outcome: Outcome | None) -> NewRow:
    """A step is done; with an outcome the run is over. `more`: blocks, passages, texts, usage, compiled, kept, …"""
    status = outcome.status if outcome is not None else "running"
    data = {**_of_turn(turn), "consumed": list(consumed), "status": status,
            "messages": [pack(message) for message in messages], **_optional(**more)}
    if outcome is not None:
        data["outcome"] = pack(outcome)
        data["stop_reason"] = outcome.stop_reason
    return NewRow(stream=kinds.agent_stream(agent_id), kind="step", data=data)


def unbegun(agent_id: str, envelope: Envelope, seqs: Iterable[int], outcome: Outcome) -> NewRow:
    """A run that waited behind another one is over before it began: cancelled, or too late."""
    return NewRow(stream=kinds.agent_stream(agent_id), kind="unbegun", data={
        "conversation_id": envelope.conversation_id, "run_id": envelope.run_id, "consumed": list(seqs),
        "status": outcome.status, "stop_reason": outcome.stop_reason, "outcome": pack(outcome),
    })


def consumed(agent_id: str, seqs: Iterable[int]) -> NewRow:
    """Inbox rows that need no turn: a reply that came too late, a cancel of what is over."""
    return NewRow(stream=kinds.agent_stream(agent_id), kind="consumed", data={"consumed": list(seqs)})


def compacted(agent_id: str, conversation_id: str, *, summary: str, kept: int) -> NewRow:
    """Older messages left the window."""
    return NewRow(stream=kinds.agent_stream(agent_id), kind="compacted",
                  data={"conversation_id": conversation_id, "summary": summary, "kept": kept})


def snapshot(state: AgentState) -> NewRow:
    """The whole state, so that loading starts from here."""
    return NewRow(stream=kinds.snapshot_stream(state.id), kind="snapshot",
                  data={"upto": state.seq, "state": pack(state)})


def message(agent_id: str, envelope: Envelope) -> NewRow:
    """A message into an agent's inbox."""
    return NewRow(stream=kinds.inbox_stream(agent_id), kind="message", data=pack(envelope))


def reply(to: ReplyTo, outcome: Outcome) -> NewRow:
    """The answer to a question, into the inbox of the agent that asked."""
    return NewRow(stream=kinds.inbox_stream(to.agent_id), kind="reply", data={
        "in_reply_to": to.op_id, "conversation_id": to.conversation_id, "agent_id": outcome.agent_id,
        "texts": list(outcome.texts), "error": "" if outcome.status == "completed" else outcome.error,
    })


def cancel(agent_id: str, run_id: str) -> NewRow:
    """The wish that a run ends."""
    return NewRow(stream=kinds.inbox_stream(agent_id), kind="cancel", data={"run_id": run_id})


def _of_turn(turn: Turn) -> dict[str, Any]:
    return {
        "conversation_id": turn.envelope.conversation_id, "run_id": turn.envelope.run_id, "step": turn.step,
        **({} if turn.step or turn.response_kept else {"turn": {
            "envelope": pack(turn.envelope), "seq": turn.seq, "deadline_at": turn.deadline_at,
            "max_steps": turn.max_steps, "begun_at": turn.begun_at,
        }}),
    }


def _optional(**values: Any) -> dict[str, Any]:
    return {key: _plain(value) for key, value in values.items() if value not in (None, (), [], {}, "")}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return pack(value) if hasattr(value, "__dataclass_fields__") else value
