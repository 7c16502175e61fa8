"""The simulated model: it does what the messages' little language says (`script`), and misbehaves by the seed.

It stands below the real gateway as one of its providers. It is a function of the request alone, as a model is: which
step comes next follows from how often the conversation shows it to have answered since the message.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass
from typing import Any

from repertory.errors import ModelUnavailable, RateLimited
from repertory.llm.assembly import replay
from repertory.llm.protocol import ModelAnswer, ModelRequest, OnDelta
from repertory.messages import Message, ToolCall, Usage

from .auditor import Auditor
from .script import Op, Order, find
from .trace import Trace

#: seconds that an answer takes at most, without faults
USUAL_ANSWER_S = 0.5


@dataclass(kw_only=True)
class Temper:
    """How likely each way of misbehaving is, for each request."""

    slow: float = 0.0
    slow_most_s: float = 20.0
    #: never answers
    hang: float = 0.0
    #: breaks off, after a while
    cut: float = 0.0
    rate_limit: float = 0.0
    empty: float = 0.0
    #: repeats `call_0` as the id of every call
    same_ids: float = 0.0
    #: makes a call twice in one answer
    twice: float = 0.0
    #: writes arguments that are no JSON, or names a tool that does not exist, before it does what it should
    wrong: float = 0.0
    #: talks until it is cut off
    endless: float = 0.0


class SimModel:
    """Satisfies `llm.protocol.Provider`."""

    def __init__(self, rng: random.Random, trace: Trace, temper: Temper, window: int,
                 auditor: Auditor) -> None:
        """`window`: tokens of a request and its answer; `auditor` sees every request."""
        self._rng = rng
        self._trace = trace
        self.temper = temper
        self._window = window
        self._auditor = auditor
        self._serial = 0

    def context_window(self, model: str) -> int:
        """See `Provider.context_window`. A model named `w3000` has a window of 3,000 tokens."""
        return int(model[1:]) if model[:1] == "w" and model[1:].isdigit() else self._window

    async def close(self) -> None:
        """See `Provider.close`."""

    async def answer(self, request: ModelRequest, model: str, on_delta: OnDelta | None = None) -> ModelAnswer:
        """See `Provider.answer`."""
        self._serial += 1
        serial, rng, temper = self._serial, self._rng, self.temper
        who = request.agent_id[:12] or "?"
        self._trace.note(who, "asks the model: %s", request.request_id)
        self._auditor.asked(request, tokens_of(request), self.context_window(model))
        delay = rng.random() ** 2 * USUAL_ANSWER_S
        if temper.slow and rng.random() < temper.slow:
            delay += rng.random() * temper.slow_most_s
            self._trace.fault("slow model", who, "the model takes %.1f s", delay)
        await asyncio.sleep(delay)
        if temper.hang and rng.random() < temper.hang:
            self._trace.fault("model hangs", who, "the model does not answer")
            await asyncio.sleep(100_000)
        if temper.cut and rng.random() < temper.cut:
            self._trace.fault("model cut", who, "the model's answer breaks off")
            raise ModelUnavailable("the connection broke off")
        if temper.rate_limit and rng.random() < temper.rate_limit:
            self._trace.fault("rate limited", who, "the model asks to slow down")
            raise RateLimited("slow down", retry_after_s=rng.choice([None, 0.5, 3.0]))
        answer = self._reply(request, serial, who)
        self._trace.note(who, "the model answers: %s %s", answer.text,
                         [(call.name, call.arguments, call.malformed) for call in answer.tool_calls])
        if on_delta is not None:
            replay(answer, on_delta)
        return answer

    def _reply(self, request: ModelRequest, serial: int, who: str) -> ModelAnswer:
        rng, temper = self._rng, self.temper
        usage = Usage(input_tokens=tokens_of(request), output_tokens=20, requests=1)
        if temper.empty and rng.random() < temper.empty:
            self._trace.fault("empty answer", who, "the model says nothing")
            return ModelAnswer(usage=usage)
        if temper.endless and rng.random() < temper.endless:
            self._trace.fault("endless answer", who, "the model talks until it is cut off")
            return ModelAnswer(text="and so on " * 50, finish="length", usage=usage)
        wrong = bool(temper.wrong and request.tools and rng.random() < temper.wrong)
        calls, text = self._next(request, serial)
        if wrong:
            self._trace.fault("wrong call", who, "the model calls a tool wrongly")
            calls = [_wrong_call(rng, serial)]
            text = ""
        if calls and temper.twice and rng.random() < temper.twice:
            self._trace.fault("call twice", who, "the model makes a call twice at once")
            again = calls[-1]
            calls.append(ToolCall(id=again.id + "b", name=again.name, arguments=dict(again.arguments)))
        if calls and temper.same_ids and rng.random() < temper.same_ids:
            self._trace.fault("same call ids", who, "the model gives every call the id call_0")
            calls = [ToolCall(id="call_0", name=c.name, arguments=c.arguments, malformed=c.malformed) for c in calls]
        return ModelAnswer(text=text, tool_calls=tuple(calls), finish="tool_calls" if calls else "stop", usage=usage,
                           model=request.model)

    def _next(self, request: ModelRequest, serial: int) -> tuple[list[ToolCall], str]:
        """The calls of the next step, or the final answer."""
        task, done = where(request.messages)
        names = {tool.name for tool in request.tools}
        if task is None:
            return _final(names, "re:nothing", serial)
        if done < len(task.steps):
            calls = [call for n, op in enumerate(task.steps[done]) if (call := _call(op, task, serial, n, request))]
            if calls:
                return calls, ""
        return _final(names, f"re:{task.token}", serial)


def tokens_of(request: ModelRequest) -> int:
    """Tokens of a request as this model counts them: a little less than four characters each."""
    characters = sum(len(t.name) + len(t.description) + len(json.dumps(t.parameters)) for t in request.tools)
    for message in request.messages:
        characters += len(message.text) + sum(len(c.name) + len(json.dumps(c.arguments)) for c in message.tool_calls)
    return characters // 4


def where(messages: tuple[Message, ...]) -> tuple[Order | None, int]:
    """The order that a conversation is at, and how many of its steps are done: answered by what they asked for."""
    done = 0
    for message in reversed(messages):
        if message.role == "assistant" and not _was_wrong(message):
            done += 1
        if message.role == "user":
            return find(message.text), done
    return None, 0


def _was_wrong(message: Message) -> bool:
    return any(call.malformed is not None or call.name == "no_such_tool" for call in message.tool_calls)


def _wrong_call(rng: random.Random, serial: int) -> ToolCall:
    if rng.random() < 0.5:
        return ToolCall(id=f"w{serial}", name="no_such_tool", arguments={"x": 1})
    return ToolCall(id=f"w{serial}", name="send_message", malformed='{"message": "half a')


def _final(names: set[str], text: str, serial: int) -> tuple[list[ToolCall], str]:
    if "send_message" in names:
        return [ToolCall(id=f"c{serial}", name="send_message", arguments={"message": text})], ""
    return [], text


def _call(op: Op, task: Order, serial: int, number: int, request: ModelRequest) -> ToolCall | None:
    """The tool call that carries out `op`; every line that it writes is its own."""
    line = f"<{task.token}/{op.verb}/{serial}.{number}>"
    inner = op.message.text if op.message is not None else ""
    arguments: dict[str, Any]
    match op.verb:
        case "append":
            name, arguments = "core_memory_append", {"label": op.arguments[0], "content": line}
        case "insert":
            name, arguments = "memory_insert", {"label": op.arguments[0], "new_string": line, "insert_line": 0}
        case "ask":
            name = "send_message_to_agent_and_wait_for_reply"
            arguments = {"other_agent_id": op.arguments[0], "message": inner}
        case "post":
            name = "send_message_to_agent_async"
            arguments = {"other_agent_id": op.arguments[0], "message": inner}
        case "cast":
            name = "send_message_to_agents_matching_tags"
            arguments = {"match_all": [op.arguments[0]], "match_some": [], "message": inner}
        case "keep":
            name, arguments = "archival_memory_insert", {"content": line, "tags": [task.token]}
        case "chore":
            name, arguments = "chore", {"line": line}
        case _:
            name, arguments = "conversation_search", {"query": task.token}
    tool = next((tool for tool in request.tools if tool.name == name), None)
    if tool is None:
        return None
    if "request_heartbeat" in tool.parameters.get("properties", {}):
        arguments["request_heartbeat"] = True
    return ToolCall(id=f"c{serial}.{number}", name=name, arguments=arguments)
