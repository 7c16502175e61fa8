"""What comes back from agents: replies, events of a running turn, the results of a broadcast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from repertory.errors import DeadlineExceeded, RepertoryError, RunCancelled, RunError, RunFailed
from repertory.messages import Outcome, Usage

EventKind = Literal["text", "reasoning", "reset", "call", "result", "said", "compacted", "end"]

#: stop_reason -> what is raised for a run that ended so
_FAILURES: dict[str, type[RunError]] = {"deadline": DeadlineExceeded, "cancelled": RunCancelled}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What an agent answered."""

    run_id: str
    agent_id: str
    #: what it said, in order
    texts: tuple[str, ...] = ()
    #: end_turn, or max_steps when it was stopped
    stop_reason: str = ""
    usage: Usage = field(default_factory=Usage)
    #: the answer as data, when a schema was asked for
    value: Any = None

    @property
    def text(self) -> str:
        """All that it said, as one string."""
        return "\n".join(self.texts)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened in a turn, as it happened."""

    #: counts from 1 within the run
    number: int
    #: text, reasoning: pieces of the model's answer (reset: all of them so far are void); call, result: of a tool;
    #: said: to the sender; compacted: older messages left the window; end: the run is over
    kind: EventKind
    text: str = ""
    #: all there is to know about it, plain data
    data: dict[str, Any] = field(default_factory=dict)
    #: the last event carries the run's outcome
    outcome: Outcome | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Broadcast:
    """What became of a message to many agents; keys are their names."""

    answered: dict[str, Reply] = field(default_factory=dict)
    #: why there will be no answer
    failed: dict[str, RepertoryError] = field(default_factory=dict)
    #: no answer in time; the message is kept, and the agent will still read it
    late: tuple[str, ...] = ()

    @property
    def texts(self) -> dict[str, str]:
        """What those who answered have said."""
        return {name: reply.text for name, reply in self.answered.items()}


def event_of(data: dict[str, Any]) -> Event:
    """An event as the agent tells it."""
    text = data.get("text", "")
    if data["kind"] == "call" and "arguments" in data:
        text = f"{data['name']}({', '.join(f'{name}={value!r}' for name, value in data['arguments'].items())})"
    return Event(number=data["n"], kind=data["kind"], text=text, data=data)


def reply_of(outcome: Outcome, name: str) -> Reply:
    """The reply of a run that ended well. Raises RunFailed, RunCancelled or DeadlineExceeded for another."""
    if outcome.status == "completed":
        return Reply(run_id=outcome.run_id, agent_id=outcome.agent_id, texts=outcome.texts,
                     stop_reason=outcome.stop_reason, usage=outcome.usage, value=outcome.value)
    kind = _FAILURES.get(outcome.stop_reason, RunCancelled if outcome.status == "cancelled" else RunFailed)
    reason = outcome.error or outcome.stop_reason or outcome.status
    raise kind(f"{name} could not answer: {reason}", run_id=outcome.run_id, stop_reason=outcome.stop_reason,
               texts=list(outcome.texts))
