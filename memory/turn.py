"""A turn as a pure machine: what to do next, given how far it is.

One inbox message is one turn is one run. A turn is a row of steps; a step asks the model and carries out its calls.
`next_effect` looks at a `Progress` and names one effect; the agent's loop (`actors.turns`) carries it out and notes
what came of it by one of the functions below. No clock, no store, no model in here, so that it can be simulated,
resumed after a crash at any point (the journal holds the same facts, `memory.state.Turn`), and read.

    Ask ──► [KeepResponse] ──► Execute ──► [Rest: wait for other agents] ──► KeepStep ──► Ask … or over
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from repertory.llm.protocol import ModelAnswer
from repertory.memory.agent_types import Called, MayContinue
from repertory.memory.state import CallResult, Turn
from repertory.messages import Message, RunStatus, Usage

#: times a model may try to bring its final answer into the form that was asked for
MOST_REPAIRS = 3
#: the tool by which a model gives an answer that must satisfy a schema
FINAL_ANSWER = "final_answer"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a run ends."""

    status: RunStatus
    stop_reason: str
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """Ask the model; compact the context first if it would not fit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeepResponse:
    """Commit the model's answer before anything is carried out: after a crash it is neither asked nor paid again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Execute:
    """Carry out the calls. `settle`: begin no new one; look what became of those begun, the rest is cancelled."""

    settle: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Rest:
    """Wait for other agents, in the journal and not in memory: the turn holds nothing until they have answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeepStep:
    """Commit the step. `ending` None: the turn goes on with another step."""

    ending: Ending | None = None


Effect = Ask | KeepResponse | Execute | Rest | KeepStep


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a step is."""

    turn: Turn
    cancelled: bool = False
    #: what the answer has cost, if the model was asked in this step and that is not in the journal yet
    usage: Usage | None = None
    #: all calls of the response need nothing but the agent's own memory
    pure: bool = False
    #: every call has its result
    executed: tuple[Called, ...] | None = None
    #: open questions to other agents without an answer
    waiting: bool = False
    #: the model was cut off by its output limit
    cut_off: bool = False
    #: the final answer that was asked for by a schema is there
    valued: bool = False
    #: why the model could not be asked: (stop reason, error)
    failure: tuple[str, str] | None = None


def next_effect(progress: Progress, may_continue: MayContinue, now: float) -> Effect:
    """The one thing to do next. `now`: seconds since 1970."""
    turn = progress.turn
    stopped = _stopped(progress, now)
    if turn.response is None:
        return KeepStep(ending=stopped) if stopped else Ask()
    if progress.executed is None:
        if not turn.response_kept and not progress.pure:
            return KeepResponse()
        if progress.waiting and not stopped and (turn.due_at is None or now < turn.due_at):
            return Rest()
        return Execute(settle=stopped is not None)
    if stopped:
        return KeepStep(ending=stopped)
    return KeepStep(ending=_ended(progress, may_continue))


def begun(progress: Progress) -> Progress:
    """The progress at the beginning of the next step of the same turn."""
    return Progress(turn=progress.turn, cancelled=progress.cancelled)


def answered(progress: Progress, answer: ModelAnswer, response: Message, *, pure: bool) -> Progress:
    """The model has answered."""
    return dataclasses.replace(
        progress, turn=dataclasses.replace(progress.turn, response=response), usage=answer.usage, pure=pure,
        cut_off=answer.finish == "length",
    )


def failed(progress: Progress, stop_reason: str, error: str) -> Progress:
    """The model could not be asked, and trying again is of no use."""
    return dataclasses.replace(progress, failure=(stop_reason, error))


def executed(progress: Progress, calls: tuple[Called, ...], *, valued: bool) -> Progress:
    """Every call has its result."""
    return dataclasses.replace(progress, executed=calls, valued=valued)


def unbegun(tool: str, *, late: bool) -> CallResult:
    """The result of a call that was not begun because the run was stopped."""
    why = "the deadline of the run passed" if late else "the run was cancelled"
    return CallResult(text=f"cancelled: {why} before {tool} was begun", failed=True)


def repairs(progress: Progress, may_continue: MayContinue) -> int:
    """How often the model has failed to give its final answer in the form that was asked for, this step included."""
    calls = progress.executed or ()
    if progress.turn.envelope.returns is None or progress.valued:
        return progress.turn.repairs
    tried = any(call.name == FINAL_ANSWER for call in calls)
    return progress.turn.repairs + (tried or not may_continue(calls))


def _stopped(progress: Progress, now: float) -> Ending | None:
    """Why no more may be begun, if so."""
    if progress.cancelled:
        return Ending(status="cancelled", stop_reason="cancelled", error="the run was cancelled")
    if now >= progress.turn.deadline_at:
        return Ending(status="failed", stop_reason="deadline", error="the deadline of the run passed")
    if progress.failure is not None:
        return Ending(status="failed", stop_reason=progress.failure[0], error=progress.failure[1])
    return None


def _ended(progress: Progress, may_continue: MayContinue) -> Ending | None:
    turn, calls = progress.turn, progress.executed or ()
    wants_value = turn.envelope.returns is not None and not progress.valued
    if progress.valued:
        return Ending(status="completed", stop_reason="end_turn")
    if repairs(progress, may_continue) > MOST_REPAIRS:
        return Ending(status="failed", stop_reason="answer_invalid",
                      error=f"the model gave no answer of the form asked for, in {MOST_REPAIRS + 1} tries")
    if not (wants_value or may_continue(calls)):
        if progress.cut_off and not calls:
            return Ending(status="completed", stop_reason="max_tokens")
        return Ending(status="completed", stop_reason="end_turn")
    if turn.step + 1 >= turn.max_steps:
        return Ending(status="completed", stop_reason="max_steps")
    return None
