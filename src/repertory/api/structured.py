"""Answers as data: a pydantic model goes out as a JSON schema, and what comes back is validated.

The agent's runtime holds the model to the schema (structured output where the provider has it, else a forced final
tool). A schema cannot say everything that a validator can, so the value is validated once more here, and an answer
that fails is sent back with the reasons, in the same conversation, a bounded number of times.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from repertory.api.replies import Reply
from repertory.errors import AnswerInvalid

#: times that an answer is sent back before we give up
REPAIRS = 2

T = TypeVar("T")
#: asks once: (text, JSON schema) -> reply
Ask = Callable[[str, dict[str, Any]], Awaitable[Reply]]


async def ask_for(ask: Ask, text: str, returns: type[T], *, repairs: int = REPAIRS) -> T:
    """Ask, and get the answer as a `returns`.

    Args:
        ask: sends a text with a schema and gives the reply.
        text: the question.
        returns: a pydantic model, a dataclass, or anything else that pydantic can describe and whose schema is an
            object; others (`int`, `list[str]`) are asked for as the field `value` of one.
        repairs: times that an invalid answer is sent back.

    Raises:
        AnswerInvalid: it never came to satisfy the type; data: problems, text.
    """
    adapter, schema, wrapped = _described(returns)
    question = text
    for attempt in range(repairs + 1):
        reply = await ask(question, schema)
        try:
            return _validated(adapter, reply, wrapped)
        except (ValidationError, ValueError) as error:
            problems = _problems(error)
            if attempt == repairs:
                raise AnswerInvalid(
                    f"the answer is no {getattr(returns, '__name__', returns)} even after {repairs} repairs: "
                    f"{problems}", problems=problems, text=reply.text,
                ) from None
            question = f"That answer cannot be used: {problems}. Give the whole answer again, corrected."
    raise AssertionError("the loop returns or raises")


def _described(returns: type[T]) -> tuple[TypeAdapter[T], dict[str, Any], bool]:
    adapter: TypeAdapter[T] = TypeAdapter(returns)
    schema = adapter.json_schema()
    if schema.get("type") == "object":
        return adapter, schema, False
    definitions = schema.pop("$defs", None)
    wrapper: dict[str, Any] = {"type": "object", "properties": {"value": schema}, "required": ["value"]}
    return adapter, wrapper | ({"$defs": definitions} if definitions else {}), True


def _validated(adapter: TypeAdapter[T], reply: Reply, wrapped: bool) -> T:
    value = reply.value if reply.value is not None else json.loads(reply.text)
    if wrapped:
        if not isinstance(value, dict) or "value" not in value:
            raise ValueError("the field `value` is missing")
        value = value["value"]
    return adapter.validate_json(json.dumps(value))


def _problems(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'the answer'}: {one['msg']}"
                         for one in error.errors(include_url=False))
    return str(error)
