"""A model that needs nothing: no network, no key, no weights. It is a set of fixed rules and says so.

`offline/rules` makes Repertory run, and its tests mean something, on a machine without a language model. It works
from the request alone, so the same request always gets the same answer. It does not understand anything; it follows
these rules, the first that fits:

1.  ``[[call NAME {json}]]`` in the last message calls that tool (for tests), then tells what it returned.
2.  Under a summariser's system message, without tools: the sentences that say most, in their order.
3.  With ``memory_finish_edits`` offered (a sleep-time agent): keeps what people said about themselves, then finishes.
4.  "Merge these findings …" with lines ``[document] sentence``: the ones that answer the question, best first.
5.  "From the text below, extract the sentences that answer: …": those sentences, verbatim, best first.
6.  "Split … into N parts: …": numbered parts.
7.  "Tell agent A …", "ask agent A …", "tell the agents tagged T: …": sends it, then tells what came back.
8.  "Use the tool NAME with …": calls it, then tells what it returned.
9.  "Who are you?": says what it is.
10. "Remember …", "my name is …", "archive …": a memory tool, then a confirmation.
11. "Replace X by Y", "forget X": edits the memory block that holds it.
12. A question: quotes what its memory blocks or the conversation say about it, else searches archival memory, then
    the conversation, then files, and quotes what it found with its source; or says that it knows nothing.
13. Anything else: says that it has read it, and what it can do.

With ``send_message`` offered it speaks through it. It fills ``thinking`` and ``request_heartbeat`` where a tool has
them. Answers in a JSON schema are filled in by matching names and types. `docs/offline-model.md` has examples.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable

from repertory.errors import ContextTooLong
from repertory.llm.assembly import replay
from repertory.llm.handles import OFFLINE_MODEL, OFFLINE_WINDOW
from repertory.llm.offline_forms import complete, fill
from repertory.llm.offline_memory import keep, recall, replace
from repertory.llm.offline_moves import Call, Calls, Move, Say
from repertory.llm.offline_situation import Situation, look_at
from repertory.llm.offline_tasks import (
    directive,
    extract,
    merge,
    message_agents,
    split,
    summarise,
    tend_memory,
    use_tool,
)
from repertory.llm.protocol import ModelAnswer, ModelRequest, OnDelta, ToolSpec
from repertory.messages import ToolCall, Usage

#: the tool by which an agent wants an answer in a schema (see `memory.turn`)
_FINAL_ANSWER = "final_answer"
_CITED = re.compile(r"^(?:\"(?P<text>.*)\" \(from .*\)|\[[^\]]+\] (?P<sentence>.+))$", re.M)
#: a rough measure; it has no tokens of its own
_CHARS_PER_TOKEN = 4

IDENTITY = (
    "I am Repertory's offline model: a fixed set of rules, not a language model. I can remember what you tell me,"
    " look it up and quote it, extract sentences from a text, and pass messages on."
)
_WHO = re.compile(
    r"\b(?:who|what)\s+(?:exactly\s+)?are\s+you\b|\bintroduce yourself\b"
    r"|\bwhat (?:kind of )?(?:model|ai|llm)\b.*\byou\b|\bare you (?:an? )?(?:real |large )?"
    r"(?:language model|llm|ai|bot|robot|human|person|gpt|chatgpt|claude|intelligen)",
    re.I,
)


def _identify(now: Situation) -> Move | None:
    return Say(IDENTITY) if _WHO.search(now.text) else None


def _acknowledge(now: Situation) -> Move:
    if not now.text:
        return Say("I am here. " + IDENTITY)
    first = " ".join(now.text.split())
    shown = first if len(first) <= 80 else first[:79] + "…"
    return Say(f"I have read your message ({shown}). I only follow rules: ask me a question, or tell me to remember.")


_RULES: tuple[Callable[[Situation], Move | None], ...] = (
    directive,
    summarise,
    tend_memory,
    merge,
    extract,
    split,
    message_agents,
    use_tool,
    _identify,
    keep,
    replace,
    recall,
)


class OfflineModel:
    """The rule-based stand-in. It implements `Provider`."""

    async def answer(self, request: ModelRequest, model: str, on_delta: OnDelta | None = None) -> ModelAnswer:
        """Follow the rules."""
        tokens = sum(len(message.text) for message in request.messages) // _CHARS_PER_TOKEN
        if tokens > OFFLINE_WINDOW:
            raise ContextTooLong(f"The request has about {tokens} tokens; {OFFLINE_MODEL} reads {OFFLINE_WINDOW}.")
        answer = respond(request, tokens)
        if on_delta is not None:
            replay(answer, on_delta)
        return answer

    def context_window(self, model: str) -> int:
        """100,000 tokens."""
        return OFFLINE_WINDOW

    async def close(self) -> None:
        """Nothing to give back."""


def respond(request: ModelRequest, input_tokens: int = 0) -> ModelAnswer:
    """The answer that the rules give to a request."""
    now = look_at(request)
    text, calls = _perform(_choose(now), now)
    written = len(text) + sum(len(json.dumps(call.arguments)) for call in calls)
    usage = Usage(input_tokens=input_tokens, output_tokens=written // _CHARS_PER_TOKEN + 1, requests=1)
    return ModelAnswer(
        text=text, tool_calls=calls, finish="tool_calls" if calls else "stop", usage=usage, model=OFFLINE_MODEL
    )


def _choose(now: Situation) -> Move:
    if now.tried("send_message"):
        return Say("")  # it has spoken already
    for rule in _RULES:
        move = rule(now)
        if move is not None:
            return move
    return _acknowledge(now)


def _perform(move: Move, now: Situation) -> tuple[str, tuple[ToolCall, ...]]:
    """The move as text and calls, within what the request allows."""
    request = now.request
    calls: tuple[Call, ...] = ()
    text = ""
    match move:
        case Say(text=said):
            text = said
        case Call():
            calls = (move,)
        case Calls(calls=several):
            calls = several
    if request.tool_choice == "none":
        return text or "I would need a tool for that.", ()
    demanded = request.tool_choice if request.tool_choice in now.tools else ""
    if demanded and any(call.name != demanded for call in calls):
        calls = ()
    if not calls:
        if request.returns is not None and not demanded:
            return json.dumps(fill(request.returns, _plain(text or now.text)), ensure_ascii=False), ()
        ways = (_FINAL_ANSWER, "send_message") if text else ()
        name = demanded or next((way for way in ways if way in now.tools), "")
        if not name and request.tool_choice == "required" and now.tools:
            name = next(iter(now.tools))
        if not name:
            return text or "I have said all there is to say.", ()
        calls = (_speak(name, text or now.text, now.tools[name]),)
        text = ""
    return text, tuple(_tool_call(call, now, number) for number, call in enumerate(calls))


def _speak(name: str, text: str, tool: ToolSpec) -> Call:
    """Say `text` through a tool: as its message, or as whatever text it wants."""
    if name != _FINAL_ANSWER and "message" in (tool.parameters.get("properties") or {}):
        return Call(name, {"message": text}, thought="I answer.", again=False)
    form = fill(tool.parameters, _plain(text))
    return Call(name, form if isinstance(form, dict) else {}, thought="I answer.", again=False)


def _plain(text: str) -> str:
    """What it says without quotation marks and sources, to fill in forms with."""
    return _CITED.sub(lambda cited: cited["text"] or cited["sentence"], text)


def _tool_call(call: Call, now: Situation, number: int) -> ToolCall:
    # The id follows from the request, so that the same request gives the same answer.
    mark = hashlib.blake2b(now.request.request_id.encode(), digest_size=6).hexdigest()
    schema = now.tools[call.name].parameters
    arguments = complete(schema, call.arguments, thought=call.thought, heartbeat=call.again)
    return ToolCall(id=f"call_{mark}_{number}", name=call.name, arguments=arguments)
