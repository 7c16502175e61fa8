"""Putting an answer together from its pieces.

Every provider feeds what arrives, a whole message or a stream of fragments, through one `Assembly`; so all of them
treat broken tool arguments, repeated indexes and missing ids alike, and listeners see the same shape of deltas.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import msgpack

from repertory.llm.protocol import Delta, ModelAnswer, OnDelta
from repertory.messages import ToolCall, Usage

#: levels of lists and objects in arguments; more of them overflow the stacks of those who pack and check them
_MOST_LEVELS = 100

Finish = Literal["stop", "tool_calls", "length", "refused"]


@dataclass(kw_only=True, slots=True)
class _Slot:
    """A tool call that is being written."""

    key: object
    id: str
    name: str
    pieces: list[str] = field(default_factory=list)


class Assembly:
    """Collects pieces, tells the listener of each, and makes the answer of them."""

    def __init__(self, on_delta: OnDelta | None = None) -> None:
        self._on_delta = on_delta
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._slots: list[_Slot] = []
        self.reasoning_signature = ""

    def text(self, piece: str) -> None:
        """More of what the model says."""
        if piece:
            self._text.append(piece)
            self._tell(Delta(kind="text", text=whole_characters(piece)))

    def reasoning(self, piece: str) -> None:
        """More of what the model thinks."""
        if piece:
            self._reasoning.append(piece)
            self._tell(Delta(kind="reasoning", text=whole_characters(piece)))

    def tool_call(self, key: object, *, call_id: str = "", name: str = "", arguments: str = "") -> None:
        """More of a tool call.

        Args:
            key: which call, as the server counts them; None: the one that was written last, or a new one.
            call_id: the server's id, in the call's first piece.
            name: the tool's name, in the call's first piece.
            arguments: a piece of the JSON text.
        """
        at = self._find(key, call_id, name)
        if at is None:
            at = len(self._slots)
            self._slots.append(_Slot(key=key, id=call_id, name=name))
            self._tell(Delta(kind="tool_call", text=arguments, index=at, name=name, call_id=call_id))
        elif arguments:
            self._tell(Delta(kind="tool_call", text=arguments, index=at))
        if arguments:
            self._slots[at].pieces.append(arguments)

    def answer(self, *, finish: Finish, usage: Usage, model: str) -> ModelAnswer:
        """The whole answer."""
        calls = tuple(
            call_from_json(slot.id or f"call_{number}", slot.name, "".join(slot.pieces))
            for number, slot in enumerate(self._slots)
        )
        if calls and finish == "stop":
            finish = "tool_calls"
        elif not calls and finish == "tool_calls":
            finish = "stop"
        return ModelAnswer(
            text=whole_characters("".join(self._text)),
            tool_calls=calls,
            reasoning=whole_characters("".join(self._reasoning)),
            reasoning_signature=self.reasoning_signature,
            finish=finish,
            usage=usage,
            model=model,
        )

    def _find(self, key: object, call_id: str, name: str) -> int | None:
        """Some servers count every parallel call as number 0 and tell them apart by id only, others send no number."""
        for at in range(len(self._slots) - 1, -1, -1):
            slot = self._slots[at]
            if key is None:
                return at if not name or (call_id and call_id == slot.id) else None
            if slot.key == key:
                starts_anew = bool(name) and bool(call_id) and call_id != slot.id
                return None if starts_anew else at
        return None

    def _tell(self, delta: Delta) -> None:
        if self._on_delta is not None:
            self._on_delta(delta)


def call_from_json(call_id: str, name: str, text: str) -> ToolCall:
    """A tool call from the JSON text that a model wrote; what is not a JSON object is kept as `malformed`.

    So is an object that the journal could not keep: numbers beyond 64 bits, half characters, hundreds of levels.
    """
    text = whole_characters(text)
    if not text.strip():
        return ToolCall(id=call_id, name=name)
    try:
        arguments: Any = json.loads(text, strict=False, parse_constant=_refuse)
        msgpack.packb(arguments)
    except (ValueError, OverflowError, RecursionError):
        return ToolCall(id=call_id, name=name, malformed=text)
    if not isinstance(arguments, dict) or _levels(arguments) > _MOST_LEVELS:
        return ToolCall(id=call_id, name=name, malformed=text)
    return ToolCall(id=call_id, name=name, arguments=arguments)


def whole_characters(text: str) -> str:
    """The text with halves of characters put together where a stream has cut them, and single ones replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _levels(value: Any) -> int:
    count, level = 0, [value]
    while level and count <= _MOST_LEVELS:
        count += 1
        held = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [inner for part in held for inner in part]
    return count


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def replay(answer: ModelAnswer, on_delta: OnDelta) -> None:
    """Tell a listener of a whole answer, in the shape in which a stream would have come."""
    if answer.reasoning:
        on_delta(Delta(kind="reasoning", text=answer.reasoning))
    if answer.text:
        on_delta(Delta(kind="text", text=answer.text))
    for at, call in enumerate(answer.tool_calls):
        written = call.malformed if call.malformed is not None else json.dumps(call.arguments)
        on_delta(Delta(kind="tool_call", text=written, index=at, name=call.name, call_id=call.id))
