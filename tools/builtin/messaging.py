"""Tools with which an agent speaks: to whoever wrote to it, and to other agents.

Those that want an answer return a `Wait`: the turn rests, and holds nothing, until the others have answered. What the
receiver reads says who asks and how an answer gets back (SURFACE, section 5.8).
"""

from __future__ import annotations

from typing import Any

from repertory.errors import ToolError
from repertory.tools.builtin.function import builtin
from repertory.tools.tool import Answer, Question, ToolContext, Wait

#: an agent that has not answered after this long counts as late; the sender goes on with the others' answers
ANSWER_WITHIN_S = 600.0


async def send_message(context: ToolContext, message: str) -> str:
    """Sends a message to the human user.

    Args:
        message: Message contents. All unicode (including emojis) are supported.
    """
    context.say(message)
    return "Sent message successfully."


async def send_message_to_agent_async(context: ToolContext, message: str, other_agent_id: str) -> str:
    """Sends a message to another agent without waiting for an answer.

    Args:
        message: The content of the message to be sent to the other agent.
        other_agent_id: The unique identifier of the other agent.
    """
    await context.post(other_agent_id, (
        f"[Incoming message from agent with ID '{context.agent_id}' - to reply to this message, make sure to use the "
        f"'send_message_to_agent_async' tool, or the agent will not receive your message] {message}"
    ))
    return "Successfully sent message"


async def send_message_to_agent_and_wait_for_reply(context: ToolContext, message: str, other_agent_id: str) -> Wait:
    """Sends a message to another agent and waits for its answer, which is this tool's result.

    Args:
        message: The content of the message to be sent to the other agent.
        other_agent_id: The unique identifier of the other agent.
    """
    if other_agent_id == context.agent_id:
        raise ToolError("You cannot wait for a reply of your own: other_agent_id is yourself.")
    question = Question(agent_id=other_agent_id, text=_asking(context, message))
    return Wait(questions=(question,), combine=_one_answer, within_s=ANSWER_WITHIN_S)


async def send_message_to_agents_matching_tags(
    context: ToolContext, message: str, match_all: list[str], match_some: list[str],
) -> str | Wait:
    """Sends a message to all agents that carry the given tags, and waits for their answers.

    Args:
        message: The content of the message to be sent to each matching agent.
        match_all: Tags that an agent must all have to receive the message.
        match_some: Tags of which an agent must have at least one to receive the message.
    """
    agents = await context.agents_with_tags(tuple(match_all), tuple(match_some))
    others = [agent_id for agent_id in agents if agent_id != context.agent_id]
    if not others:
        return "[]"
    text = _asking(context, message)
    questions = tuple(Question(agent_id=agent_id, text=text) for agent_id in others)
    return Wait(questions=questions, combine=_all_answers, within_s=ANSWER_WITHIN_S)


def _asking(context: ToolContext, message: str) -> str:
    return (f"[Incoming message from agent with ID '{context.agent_id}' - your response will be delivered to the "
            f"sender] {message}")


def _one_answer(answers: tuple[Answer, ...]) -> str:
    return str(_told(answers[0]))


def _all_answers(answers: tuple[Answer, ...]) -> str:
    return str([_told(answer) for answer in answers])


def _told(answer: Answer) -> dict[str, Any]:
    if answer.error:
        return {"agent_id": answer.agent_id, "response": [f"<error: {answer.error}>"]}
    return {"agent_id": answer.agent_id, "response": list(answer.texts) or ["<no response>"]}


MESSAGING_TOOLS = (
    builtin(send_message, pure=True, terminal=True),
    builtin(send_message_to_agent_async, pure=True),
    builtin(send_message_to_agent_and_wait_for_reply, pure=False),
    builtin(send_message_to_agents_matching_tags, pure=False),
)
