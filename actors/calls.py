"""Carrying out the calls of one response.

First those that reach outside (shared blocks, other agents, custom tools), under op_ids that stay the same whoever
carries them out and however often; their results go into the journal before the turn rests. Then those that need
only the agent's own memory, on a scratch copy that becomes real with the step's commit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from repertory.actors.surroundings import Surroundings
from repertory.actors.toolbox import Toolbox, checked_answer, wants_heartbeat
from repertory.actors.workspace import Workspace
from repertory.errors import RepertoryError, RouteError, StorageError, ToolError
from repertory.ids import derived
from repertory.memory.agent_types import Called
from repertory.memory.journal import Row
from repertory.memory.rows import COORDINATOR
from repertory.memory.state import AgentState, CallResult, OpenQuestion, Turn
from repertory.memory.turn import FINAL_ANSWER, unbegun
from repertory.memory.versions import from_row
from repertory.messages import DEFAULT_CONVERSATION, Message, ToolCall
from repertory.tools.tool import Answer, Wait

#: characters of a tool's result that the model is shown (SURFACE, section 5.4)
RESULT_LIMIT_CHARS = 50_000
#: seconds that a custom tool may take when the run has no earlier deadline
TOOL_S = 300.0


@dataclass(slots=True)
class Execution:
    """What carrying out the calls of one response has come to so far."""

    workspace: Workspace
    #: by call index
    results: dict[int, CallResult] = field(default_factory=dict)
    #: of calls that must not be run again
    outside: dict[str, CallResult] = field(default_factory=dict)
    #: to be asked before the turn can go on
    questions: list[tuple[OpenQuestion, str]] = field(default_factory=list)
    within_s: float | None = None
    value: Any = None
    valued: bool = False


class CallRunner:
    """Carries out the calls of one response of one agent."""

    def __init__(self, state: AgentState, turn: Turn, toolbox: Toolbox, surroundings: Surroundings, *,
                 replies: Mapping[str, Row], resumed: bool) -> None:
        """`replies`: reply rows by the op_id of their question; `resumed`: an earlier activation may have begun."""
        assert turn.response is not None
        self._turn, self._toolbox, self._surroundings = turn, toolbox, surroundings
        self._calls = turn.response.tool_calls
        self._state, self._replies, self._resumed = state, replies, resumed
        self._now = surroundings.now()
        self.execution = Execution(workspace=Workspace(state, surroundings, self._now))
        self.execution.outside.update(turn.results)
        self._outside_effects = self.execution.workspace.effects()

    async def run_outside(self) -> None:
        """Carry out what reaches outside and has no result yet; questions to other agents are only collected."""
        for index, call in enumerate(self._calls):
            if str(index) in self.execution.outside or call.name == FINAL_ANSWER:
                continue
            if not self._toolbox.is_pure(call, self._state):
                await self._run_outside(index, call)
        self._outside_effects = self.execution.workspace.effects()

    def rebase(self, state: AgentState) -> None:
        """Memory has changed meanwhile: what needs only that is carried out again, on the state as it is now."""
        self._state = self.execution.workspace.base = state
        self.execution.workspace.restore(self._outside_effects)

    async def run_inside(self) -> None:
        """Carry out what needs only the agent's own memory; afterwards every call has its result."""
        for index, call in enumerate(self._calls):
            if str(index) in self.execution.outside:
                self.execution.results[index] = self.execution.outside[str(index)]
            elif call.name == FINAL_ANSWER and self._turn.envelope.returns is not None:
                self.execution.results[index] = self._final(call)
            else:
                result = await self._attempt(index, call)
                assert result is not None, "only what reaches outside can wait"
                self.execution.results[index] = result

    async def settle(self, *, late: bool) -> None:
        """Begin nothing; look what became of calls that were begun. Afterwards every call has its result."""
        for index, call in enumerate(self._calls):
            done = self.execution.outside.get(str(index))
            if done is None and self._turn.response_kept and not self._toolbox.is_pure(call, self._state):
                done = await self._found(index)
            self.execution.results[index] = done or unbegun(call.name, late=late)

    def called(self) -> tuple[Called, ...]:
        """The calls as the agent's type looks at them."""
        return tuple(self._called(index, call) for index, call in enumerate(self._calls))

    def messages(self) -> tuple[Message, ...]:
        """The results as messages, in the order of the calls."""
        at = self._now
        return tuple(
            Message(id=derived("message", self._state.id, self._turn.op, index), role="tool", at=at,
                    text=self.execution.results[index].text, failed=self.execution.results[index].failed,
                    tool_call_id=call.id, tool_name=call.name)
            for index, call in enumerate(self._calls)
        )

    async def _run_outside(self, index: int, call: ToolCall) -> None:
        tool = self._toolbox.find(call.name)
        if self._resumed and tool is not None and tool.retry == "never" and self._turn.response_kept:
            result: CallResult | None = CallResult(
                text=f"unknown: the process died while {call.name} ran; it may or may not have been carried out. "
                     "Find out before you call it again.", failed=True)
        else:
            result = await self._attempt(index, call)
        if result is not None:
            self.execution.outside[str(index)] = result

    async def _attempt(self, index: int, call: ToolCall) -> CallResult | None:
        """The result of a call; what a tool refuses or fails at is one too. None: others must be asked first."""
        workspace = self.execution.workspace
        workspace.op = self._op(index)
        mine = [question for question in self._turn.questions if question.call == index]
        workspace.asked = tuple(question.agent_id for question in mine) if mine else None
        before = workspace.effects()
        try:
            outcome = await self._carry_out(call)
            if isinstance(outcome, Wait):
                return self._waited(index, outcome, mine)
            return CallResult(text=_shortened(outcome))
        except (RouteError, StorageError):
            raise  # nothing that a model could mend: this activation cannot go on
        except RepertoryError as error:
            workspace.restore(before)
            return CallResult(text=error.message, failed=True)
        except Exception as error:  # a tool of ours broke: the model is told, the run goes on
            workspace.restore(before)
            text = f"Error executing function {call.name}: {type(error).__name__}: {error}"
            return CallResult(text=text[:1_000], failed=True)

    async def _carry_out(self, call: ToolCall) -> str | Wait:
        request = self._toolbox.understand(call)
        if request.tool.function is not None:
            return await request.tool.function(self.execution.workspace, request.arguments)
        left_s = max(1.0, min(TOOL_S, self._turn.deadline_at - self._surroundings.now()))
        return await self._surroundings.sandbox.run(
            request.tool, request.arguments, op_id=self.execution.workspace.op, timeout_s=left_s)

    def _waited(self, index: int, wish: Wait, mine: list[OpenQuestion]) -> CallResult | None:
        """The result of a tool that waits for others, once they have answered; until then, its questions."""
        if not mine:
            for number, question in enumerate(wish.questions):
                self.execution.questions.append((OpenQuestion(
                    op_id=f"{self._op(index)}/{number}", agent_id=question.agent_id,
                    conversation_id=DEFAULT_CONVERSATION, call=index), question.text))
            self.execution.within_s = wish.within_s
            return None
        return CallResult(text=_shortened(wish.combine(tuple(self._answer(question) for question in mine))))

    def _answer(self, question: OpenQuestion) -> Answer:
        reply = self._replies.get(question.op_id)
        if question.refused:
            return Answer(agent_id=question.agent_id, error=question.refused)
        if reply is None:
            return Answer(agent_id=question.agent_id, error="no answer in time")
        return Answer(agent_id=question.agent_id, texts=tuple(reply.data.get("texts", ())),
                      error=reply.data.get("error", ""))

    async def _found(self, index: int) -> CallResult | None:
        """What a call that an earlier activation may have begun came to, if the journal knows."""
        for row in await self._surroundings.store.lookup(self._op(index)):
            if row.author == COORDINATOR and row.kind == "version":
                version = from_row(row)
                block = self._state.blocks.get(version.label)
                if block is not None:
                    self.execution.workspace.changed[version.label] = dataclasses.replace(
                        block, value=version.value, version=version.version)
                return CallResult(text=_shortened(version.value))
        return None

    def _final(self, call: ToolCall) -> CallResult:
        assert self._turn.envelope.returns is not None
        try:
            if call.malformed is not None:
                raise ToolError(f"this is no JSON object: {call.malformed[:200]!r}")
            self.execution.value = checked_answer(self._turn.envelope.returns, call.arguments)
        except RepertoryError as error:
            return CallResult(text=error.message, failed=True)
        self.execution.valued = True
        return CallResult(text="The answer is accepted.")

    def _called(self, index: int, call: ToolCall) -> Called:
        tool = self._toolbox.find(call.name)
        return Called(
            name=call.name, failed=self.execution.results[index].failed, heartbeat=wants_heartbeat(call),
            terminal=tool is not None and tool.terminal, builtin=tool is not None and tool.function is not None,
        )

    def _op(self, index: int) -> str:
        return f"{self._state.id}/{self._turn.op}/{index}"


def _shortened(text: str) -> str:
    if len(text) <= RESULT_LIMIT_CHARS:
        return text
    return (f"{text[:RESULT_LIMIT_CHARS]}... [NOTE: function output was truncated since it exceeded the character "
            f"limit ({len(text)} > {RESULT_LIMIT_CHARS})]")
