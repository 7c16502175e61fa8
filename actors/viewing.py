"""Looking into an agent: plain data for programs and people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from repertory.memory import context, tokens
from repertory.messages import DEFAULT_CONVERSATION, pack

if TYPE_CHECKING:
    from repertory.actors.agent import Agent


async def view_of(agent: Agent, what: str, conversation_id: str = DEFAULT_CONVERSATION) -> Any:
    """One view of an agent.

    Args:
        agent: whom to look at.
        what: `state` (all of it), `blocks`, `messages` (the window of a conversation), `context` (what the model would
            see: system, messages, notes, tools, counts of tokens), `conversations` (their ids and sizes).
        conversation_id: of which conversation.

    Raises:
        ValueError: there is no such view.
    """
    state, conversation = agent.state, agent.state.conversation(conversation_id)
    match what:
        case "state":
            return pack(state)
        case "blocks":
            return [pack(block) for block in state.blocks.values()]
        case "messages":
            return [pack(message) for message in conversation.messages]
        case "conversations":
            return [{"id": one.id, "messages": len(one.messages), "evicted": one.evicted, "open": one.turn is not None}
                    for one in state.conversations.values()]
        case "context":
            return await _context(agent, conversation_id)
        case _:
            raise ValueError(f"there is no view {what!r}; there are: state, blocks, messages, context, conversations")


async def _context(agent: Agent, conversation_id: str) -> dict[str, Any]:
    state, conversation = agent.state, agent.state.conversation(conversation_id)
    prompt = state.spec.system or agent.kind.prompt
    shown = conversation.compiled
    system = shown.text if shown is not None else agent.kind.compile(state, conversation, prompt, agent.now())
    notes = context.notes(state, shown) if shown is not None else ""
    tools = agent.toolbox.specs(reasons=False, returns=None)
    return {
        "system": system, "notes": notes, "summary": conversation.summary,
        "messages": [pack(message) for message in conversation.messages], "evicted": conversation.evicted,
        "tools": [tool.name for tool in tools],
        "tokens": {
            "window": await agent.context_window(), "system": tokens.of_text(system), "notes": tokens.of_text(notes),
            "tools": tokens.of_tools(tools), "messages": tokens.of_messages(conversation.messages),
        },
    }
