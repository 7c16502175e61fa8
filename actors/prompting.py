"""Making the request: the compiled system message, the window, the notes, and the budget that they must keep (P7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repertory.errors import ContextTooLong, ModelError, RouteError
from repertory.llm.protocol import ModelRequest, ToolSpec
from repertory.memory import compaction, context, events, tokens
from repertory.memory.agent_types import default_prompt
from repertory.memory.compaction import Budget
from repertory.memory.state import Compiled, Conversation, Turn
from repertory.memory.turn import FINAL_ANSWER
from repertory.messages import Message, Usage

if TYPE_CHECKING:
    from repertory.actors.agent import Agent

#: seconds that a summary may take; afterwards one is made without a model
SUMMARY_S = 60.0
#: how much more a provider is taken to count after it has called a request too long
SHORTER = 1.5
#: rounds of eviction for one request: a summary makes the system message longer again
MOST_ROUNDS = 4


class Prompter:
    """Makes the requests of one conversation's turn."""

    def __init__(self, agent: Agent, conversation_id: str) -> None:
        self._agent, self._conversation_id = agent, conversation_id
        #: a system message that the model has seen and that no row holds yet
        self.unkept: Compiled | None = None
        self._estimate = 0

    async def request(self, turn: Turn, attempt: int) -> ModelRequest:
        """The request for the turn's next answer; older messages are evicted first if it would not fit.

        Raises ContextTooLong when the system message and the tools alone leave no room for a conversation.
        """
        agent = self._agent
        tools = agent.toolbox.specs(reasons=self._reasons(), returns=turn.envelope.returns)
        inputs = () if turn.step or turn.response_kept else (self.input(turn),)
        budget = await self._make_room(turn, tools, inputs)
        conversation = self._conversation
        shown, notes = self._shown(conversation)
        messages, count = compaction.fit((*context.opening(conversation.messages), *inputs), budget, agent.size_of)
        system = Message(id="system", role="system", text=shown.text, at=shown.at)
        self._estimate = budget.fixed + count
        choice = "required" if agent.kind.must_call and tools else "auto"
        if turn.repairs and turn.envelope.returns is not None:
            choice = FINAL_ANSWER
        return ModelRequest(
            request_id=f"{agent.id}/{turn.op}/{attempt}", model=agent.state.spec.model,
            messages=(system, *messages, *notes), tools=tools, tool_choice=choice,
            max_output_tokens=agent.state.spec.max_output_tokens, temperature=agent.state.spec.temperature,
            timeout_s=max(0.1, min(turn.deadline_at - agent.now(), 86_400.0)), agent_id=agent.id,
        )

    def input(self, turn: Turn) -> Message:
        """The message that began the turn, as part of the conversation."""
        envelope = turn.envelope
        return Message(id=envelope.message_id, role=envelope.role, text=envelope.text, sender=envelope.sender,
                       at=turn.begun_at)

    def learn(self, usage: Usage) -> None:
        """Compare our estimate of the last request with what its provider counted."""
        if self._estimate and usage.input_tokens:
            self._agent.token_ratio = max(1.0, min(4.0, usage.input_tokens / self._estimate))

    def shorten(self) -> None:
        """The provider called the request too long: count more cautiously from now on."""
        self._agent.token_ratio *= SHORTER

    async def _make_room(self, turn: Turn, tools: tuple[ToolSpec, ...], inputs: tuple[Message, ...]) -> Budget:
        for _ in range(MOST_ROUNDS):
            conversation = self._conversation
            shown, notes = self._shown(conversation)
            budget = await self._budget(tokens.of_text(shown.text) + tokens.of_tools(tools)
                                        + tokens.of_messages(notes))
            if budget.room < budget.least:
                raise ContextTooLong(
                    f"the system prompt, the memory blocks and the tools take {budget.fixed} of {budget.window} "
                    "tokens and leave no room for a conversation: shorten them, or set a larger context_window")
            messages = (*conversation.messages, *inputs)
            begins = _begins(conversation, turn)
            evict = min(compaction.cut(messages, budget, begins, self._agent.size_of), len(conversation.messages))
            if not evict:
                break
            await self._evict(turn, conversation, evict, budget)
        return budget

    async def _budget(self, fixed: int) -> Budget:
        agent = self._agent
        window = await agent.context_window()
        return Budget(window=window, fixed=fixed, ratio=agent.token_ratio,
                      answer=compaction.answer_tokens(window, agent.state.spec.max_output_tokens))

    async def _evict(self, turn: Turn, conversation: Conversation, count: int, budget: Budget) -> None:
        agent = self._agent
        evicted = conversation.messages[:count]
        summary = await self._summary(turn, conversation.summary, evicted, budget)
        row = events.compacted(agent.id, conversation.id, summary=summary, kept=len(conversation.messages) - count)
        await agent.commit(f"{turn.op}/compacted/{agent.state.seq}", [row])
        self.unkept = None
        agent.arrivals.feed(turn.envelope.run_id).put("compacted", evicted=count)

    async def _summary(self, turn: Turn, summary: str, evicted: tuple[Message, ...], budget: Budget) -> str:
        agent = self._agent
        room = int((budget.window * compaction.FULL - budget.answer) / budget.ratio)
        request = ModelRequest(
            request_id=f"{agent.id}/{turn.op}/summary/{agent.state.seq}", model=agent.state.spec.model,
            messages=compaction.summary_request(default_prompt("summarizer"), summary, evicted, room),
            max_output_tokens=budget.answer, agent_id=agent.id,
            timeout_s=max(0.1, min(SUMMARY_S, turn.deadline_at - agent.now())),
        )
        try:
            answer = await agent.surroundings.models.answer(request)
        except (ModelError, RouteError):
            answer = None
        if answer is None or not answer.text.strip():
            return compaction.plain_summary(summary, evicted)
        return answer.text.strip()[:compaction.SUMMARY_LIMIT_CHARS]

    def _shown(self, conversation: Conversation) -> tuple[Compiled, tuple[Message, ...]]:
        """The system message that is in use, and the notes on what has changed since; a new one when they grow long."""
        agent, state = self._agent, self._agent.state
        shown = self.unkept or conversation.compiled
        if shown is not None:
            text = context.notes(state, shown)
            if len(text) <= context.NOTES_LIMIT_CHARS:
                return shown, (context.notes_as_message(text, agent.now()),) if text else ()
        prompt = state.spec.system or agent.kind.prompt
        text = agent.kind.compile(state, conversation, prompt, agent.now())
        self.unkept = context.compiled(text, state, agent.now())
        return self.unkept, ()

    def _reasons(self) -> bool:
        """Whether the model has shown that it reasons by itself."""
        return any(message.reasoning for message in self._conversation.messages[-20:])

    @property
    def _conversation(self) -> Conversation:
        return self._agent.state.conversation(self._conversation_id)


def _begins(conversation: Conversation, turn: Turn) -> int:
    """The index in the window at which the turn's own messages begin."""
    if turn.step or turn.response_kept:
        for index, message in enumerate(conversation.messages):
            if message.id == turn.envelope.message_id:
                return index
        return 0
    return len(conversation.messages)
