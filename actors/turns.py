"""The step loop of an agent: carries out the effects that the pure machine of `memory.turn` asks for.

One `TurnRunner` carries one turn of one conversation to its end, or until it rests because it waits for other
agents. It may be the second one on the same turn, in another process, after a crash: everything that it needs is in
the state, and everything that it does has an op_id that stays the same.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

from repertory.actors.calls import CallRunner, Execution
from repertory.actors.prompting import Prompter
from repertory.errors import (
    AnswerInvalid,
    CommitRefused,
    ConfigError,
    ContextTooLong,
    ModelError,
    NotFound,
    RepertoryError,
    WaitCycle,
)
from repertory.ids import derived
from repertory.llm.protocol import ModelAnswer
from repertory.memory import events
from repertory.memory import turn as machine
from repertory.memory.journal import NewRow
from repertory.memory.state import OpenQuestion, Turn
from repertory.messages import Envelope, Message, Outcome, ReplyTo, Sender, Usage, pack

if TYPE_CHECKING:
    from repertory.actors.agent import Agent
    from repertory.actors.arrivals import Arrival

#: times that a request is made shorter after the provider has called it too long
MOST_SHORTENINGS = 3


class TurnRunner:
    """Carries one turn on."""

    def __init__(self, agent: Agent, turn: Turn, *, arrival: Arrival | None = None, resumed: bool = False) -> None:
        """`arrival`: the message, while its inbox row is still being written; `resumed`: others began this turn."""
        self._agent, self._arrival, self._resumed = agent, arrival, resumed
        self._progress = machine.Progress(turn=turn)
        self.run_id = turn.envelope.run_id
        self._prompter = Prompter(agent, turn.envelope.conversation_id)
        self._calls: CallRunner | None = None

    async def run(self) -> bool:
        """Carry the turn on until it is over (True), or rests (False)."""
        agent = self._agent
        while True:
            self._look()
            progress = self._progress
            match machine.next_effect(progress, agent.kind.may_continue, agent.now()):
                case machine.Ask():
                    await self._ask()
                case machine.KeepResponse():
                    await self._keep_response()
                case machine.Execute(settle=settle):
                    await self._execute(settle)
                case machine.Rest():
                    return False
                case machine.KeepStep(ending=ending):
                    if await self._keep_step(ending) and ending is not None:
                        return True

    def give_up(self, error: str) -> None:
        """End the run: carrying it on has met an error that is nobody's answer."""
        self._progress = machine.failed(self._progress, "error", error)

    def _look(self) -> None:
        """Take notice of what has come in meanwhile."""
        turn, agent = self._progress.turn, self._agent
        waiting = any(not question.refused and question.op_id not in agent.arrivals.replies
                      for question in turn.questions)
        self._progress = dataclasses.replace(
            self._progress, waiting=waiting, cancelled=agent.arrivals.is_cancelled(turn.envelope.run_id))

    # --- asking the model ---------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        agent, turn = self._agent, self._progress.turn
        try:
            answer = await self._answer(turn)
        except TimeoutError:
            return  # the deadline has passed: the machine sees it by the clock
        except asyncio.CancelledError:
            if agent.arrivals.is_cancelled(turn.envelope.run_id) and not _being_cancelled():
                return
            raise
        except ContextTooLong as error:
            self._fail("context_too_long", error)
        except AnswerInvalid as error:
            self._fail("answer_invalid", error)
        except (ModelError, ConfigError) as error:
            self._fail("model_error", error)
        else:
            self._answered(answer)

    async def _answer(self, turn: Turn) -> ModelAnswer:
        """The model's answer within the turn's deadline; a request that is too long is made shorter."""
        agent = self._agent
        await agent.refresh_shared_blocks()
        async with asyncio.timeout(max(0.0, turn.deadline_at - agent.now()) if turn.deadline_at < 1e12 else None):
            for attempt in range(MOST_SHORTENINGS + 1):
                request = await self._prompter.request(turn, attempt)
                asking = agent.spawn(agent.surroundings.models.answer(request, stream=self._streams()))
                with agent.arrivals.cancelling(turn.envelope.run_id, asking):
                    try:
                        return await self._streamed(request.request_id, asking)
                    except ContextTooLong:
                        if attempt == MOST_SHORTENINGS:
                            raise
                        self._prompter.shorten()
        raise AssertionError("the last attempt returns or raises")

    async def _streamed(self, request_id: str, asking: asyncio.Task[ModelAnswer]) -> ModelAnswer:
        """Wait for the answer, and pass its pieces on to those who listen."""
        if not self._streams():
            return await asking
        feed, models = self._agent.arrivals.feed(self._progress.turn.envelope.run_id), self._agent.surroundings.models
        await self._settle()  # nothing leaves before the message is kept
        number = 0
        while not asking.done():
            listening = self._agent.spawn(models.deltas(request_id, after=number, wait_s=5.0))
            await asyncio.wait((asking, listening), return_when=asyncio.FIRST_COMPLETED)
            if not listening.done():
                # the last pieces are there when the answer is; a short look brings them
                await asyncio.wait((listening,), timeout=0.05)
            if not listening.done() or listening.exception() is not None:
                listening.cancel()
                break
            for piece in listening.result():
                number = max(number, piece.get("n", number))
                feed.piece(piece)
        return await asking

    def _streams(self) -> bool:
        return self._agent.arrivals.feed(self._progress.turn.envelope.run_id).streamed

    def _answered(self, answer: ModelAnswer) -> None:
        agent, turn = self._agent, self._progress.turn
        response = Message(
            id=derived("message", agent.id, turn.op), role="assistant", text=answer.text, at=agent.now(),
            tool_calls=answer.tool_calls, reasoning=answer.reasoning, reasoning_signature=answer.reasoning_signature,
        )
        pure = all(self._toolbox.is_pure(call, agent.state) or call.name == machine.FINAL_ANSWER
                   for call in response.tool_calls)
        self._progress = machine.answered(self._progress, answer, response, pure=pure)
        self._prompter.learn(answer.usage)

    def _fail(self, reason: str, error: RepertoryError) -> None:
        self._progress = machine.failed(self._progress, reason, error.message)

    # --- carrying out the calls ---------------------------------------------------------------------------------------

    async def _execute(self, settle: bool) -> None:
        agent, calls = self._agent, self._calls
        if calls is None:
            calls = CallRunner(agent.state, self._progress.turn, self._toolbox, agent.surroundings,
                               replies=agent.arrivals.replies, resumed=self._resumed)
        if settle:
            await calls.settle(late=not self._progress.cancelled)
        else:
            if self._calls is None:
                await calls.run_outside()
            if calls.execution.questions:
                await self._ask_others(calls.execution)
                return
            await calls.run_inside()
        self._calls = calls
        self._progress = machine.executed(self._progress, calls.called(), valued=calls.execution.valued)

    async def _ask_others(self, execution: Execution) -> None:
        """Send the questions and rest; those that may not be sent count as answered with the reason."""
        agent, turn = self._agent, self._progress.turn
        asked = [(await self._admitted(question), text) for question, text in execution.questions]
        left_s = turn.deadline_at - agent.now()
        within_s = min(execution.within_s or left_s, left_s)
        due_at = agent.now() + within_s
        while any(not question.refused for question, _ in asked):
            rows = [events.wait(agent.id, turn, [question for question, _ in asked], execution.outside, due_at)]
            rows += [events.message(question.agent_id, self._question(question, text, within_s))
                     for question, text in asked if not question.refused]
            try:
                await agent.commit(f"{turn.op}/wait", rows)
            except WaitCycle as error:
                asked = [(dataclasses.replace(question, refused=error.message)
                          if question.op_id in error.refused else question, text) for question, text in asked]
            else:
                break
        questions = tuple(question for question, _ in asked)
        results = dict(execution.outside)
        self._progress = dataclasses.replace(self._progress, turn=dataclasses.replace(
            turn, questions=questions, due_at=due_at, results=results))

    async def _admitted(self, question: OpenQuestion) -> OpenQuestion:
        """The question with a place in the receiver's inbox, or with the reason why there is none."""
        try:
            await self._agent.surroundings.store.ask("reserve", agent_id=question.agent_id, op_id=question.op_id)
        except (NotFound, CommitRefused) as error:
            return dataclasses.replace(question, refused=error.message)
        return question

    def _question(self, question: OpenQuestion, text: str, within_s: float) -> Envelope:
        agent, turn = self._agent, self._progress.turn
        return Envelope(
            run_id=derived("run", question.op_id), message_id=derived("message", question.op_id), text=text,
            sender=Sender(kind="agent", id=agent.id), within_s=within_s,
            reply_to=ReplyTo(agent_id=agent.id, conversation_id=turn.envelope.conversation_id, op_id=question.op_id),
        )

    # --- keeping ------------------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Wait until the message itself is in the journal; nothing of the turn may be kept or leave before."""
        if self._arrival is not None:
            kept = await self._arrival.kept()
            self._arrival = None
            turn = dataclasses.replace(self._progress.turn, seq=kept.seq, deadline_at=kept.deadline_at,
                                       begun_at=kept.at)
            self._progress = dataclasses.replace(self._progress, turn=turn)

    async def _keep_response(self) -> None:
        await self._settle()
        agent, turn = self._agent, self._progress.turn
        assert turn.response is not None
        row = events.response(
            agent.id, turn, consumed=self._consumed(), messages=(*self._inputs(), turn.response),
            usage=self._progress.usage, shown=self._prompter.unkept,
        )
        await agent.commit(f"{turn.op}/response", [row])
        self._kept()

    async def _keep_step(self, ending: machine.Ending | None) -> bool:
        """Commit the step; False if memory has changed under it, so that its calls must be carried out again."""
        await self._settle()
        agent, turn = self._agent, self._progress.turn
        async with agent.memory:
            if self._calls is not None and self._calls.execution.workspace.base.blocks != agent.state.blocks:
                self._calls.rebase(agent.state)
                self._progress = dataclasses.replace(self._progress, executed=None)
                return False
            outcome = self._outcome(ending) if ending is not None else None
            rows = [self._step_row(outcome)]
            if self._calls is not None:
                rows += [events.message(agent_id, post) for agent_id, post in self._calls.execution.workspace.posts]
            if outcome is not None and turn.envelope.reply_to is not None:
                rows.append(events.reply(turn.envelope.reply_to, outcome))
            await agent.commit(f"{turn.op}/step", rows)
            self._kept()
        if outcome is not None:
            agent.over(outcome)
        return True

    def _step_row(self, outcome: Outcome | None) -> NewRow:
        agent, progress = self._agent, self._progress
        turn, execution = progress.turn, self._calls.execution if self._calls else None
        before = () if turn.response_kept or turn.response is None else (turn.response,)
        messages = (*self._inputs(), *before, *(self._calls.messages() if self._calls else ()))
        more: dict[str, Any] = {"texts": self._said(), "usage": progress.usage, "compiled": self._prompter.unkept}
        if execution is not None:
            more |= {"blocks": [pack(block) for block in execution.workspace.changed.values()],
                     "passages": execution.workspace.passages, "value": execution.value, "by": "you"}
        repairs = machine.repairs(progress, agent.kind.may_continue)
        if repairs != turn.repairs:
            more["repairs"] = repairs
        if outcome is not None:
            window = len(agent.state.conversation(turn.envelope.conversation_id).messages) + len(messages)
            window += turn.response_kept
            if (kept := agent.kind.after_turn(window)) < window:
                more["kept"] = max(kept, 0)
        consumed = self._consumed() + (agent.arrivals.cancels(turn.envelope.run_id) if outcome is not None else [])
        row = events.step(agent.id, turn, consumed=consumed, messages=messages, more=more, outcome=outcome)
        if more.get("kept") == 0:
            row.data["kept"] = 0
        return row

    def _outcome(self, ending: machine.Ending) -> Outcome:
        turn = self._progress.turn
        return Outcome(
            run_id=turn.envelope.run_id, agent_id=self._agent.id, status=ending.status,
            stop_reason=ending.stop_reason, texts=(*turn.texts, *self._said()), error=ending.error,
            value=self._calls.execution.value if self._calls else None,
            usage=turn.usage.plus(self._progress.usage or Usage()),
        )

    def _kept(self) -> None:
        """What was kept is the state now; go on from there."""
        agent, turn = self._agent, self._progress.turn
        self._prompter.unkept = None
        now = agent.state.conversation(turn.envelope.conversation_id).turn
        if now is not None and now.response is not None:
            self._progress = dataclasses.replace(self._progress, turn=now, usage=None)
        elif now is not None:
            self._resumed, self._calls = False, None
            self._progress = machine.begun(dataclasses.replace(self._progress, turn=now))

    def _consumed(self) -> list[int]:
        """The inbox rows that this step settles: its message, the replies to its questions.

        A cancel is settled by the last step only: whoever takes over before that must know of it.
        """
        turn, arrivals = self._progress.turn, self._agent.arrivals
        seqs = [] if turn.step or turn.response_kept else [turn.seq]
        seqs += [arrivals.replies[question.op_id].seq for question in turn.questions
                 if question.op_id in arrivals.replies]
        return seqs

    def _inputs(self) -> tuple[Message, ...]:
        turn = self._progress.turn
        return () if turn.step or turn.response_kept else (self._prompter.input(turn),)

    def _said(self) -> tuple[str, ...]:
        """What this step says to the sender."""
        turn = self._progress.turn
        said = list(self._calls.execution.workspace.said) if self._calls else []
        if turn.response is not None and turn.response.text.strip() and not (
                turn.response.tool_calls and self._agent.kind.must_call):
            said.insert(0, turn.response.text)
        return tuple(said)

    @property
    def _toolbox(self) -> Any:
        return self._agent.toolbox


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


