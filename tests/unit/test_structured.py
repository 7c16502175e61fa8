"""Answers as data: validated, repaired a bounded number of times, refused by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from repertory.api.replies import Reply
from repertory.api.structured import ask_for
from repertory.errors import AnswerInvalid


class Trip(BaseModel):
    city: str
    days: int

    @field_validator("days")
    @classmethod
    def _short(cls, days: int) -> int:
        if days > 7:
            raise ValueError("a trip has at most 7 days")
        return days


def agent(*answers: Any) -> tuple[Callable[[str, dict[str, Any]], Awaitable[Reply]], list[tuple[str, dict[str, Any]]]]:
    """An `ask` that gives these answers in turn, and what it was asked."""
    asked: list[tuple[str, dict[str, Any]]] = []

    async def ask(text: str, schema: dict[str, Any]) -> Reply:
        asked.append((text, schema))
        answer = answers[len(asked) - 1]
        if isinstance(answer, str):
            return Reply(run_id="run-1", agent_id="agent-1", texts=(answer,))
        return Reply(run_id="run-1", agent_id="agent-1", value=answer)

    return ask, asked


async def test_a_valid_answer_is_the_object() -> None:
    ask, asked = agent({"city": "Rome", "days": 3})
    assert await ask_for(ask, "Where to?", Trip) == Trip(city="Rome", days=3)
    assert asked[0][1]["required"] == ["city", "days"]


async def test_json_in_the_text_is_read_when_there_is_no_value() -> None:
    ask, _ = agent('{"city": "Rome", "days": 3}')
    assert await ask_for(ask, "Where to?", Trip) == Trip(city="Rome", days=3)


async def test_an_invalid_answer_is_sent_back_with_the_reasons() -> None:
    ask, asked = agent({"city": "Rome", "days": 30}, "no JSON", {"city": "Rome", "days": 7})
    assert (await ask_for(ask, "Where to?", Trip)).days == 7
    assert "at most 7 days" in asked[1][0]
    assert len(asked) == 3


async def test_after_the_last_repair_the_problems_are_named() -> None:
    ask, asked = agent(*[{"city": "Rome"}] * 3)
    with pytest.raises(AnswerInvalid, match="no Trip even after 2 repairs: days: Field required"):
        await ask_for(ask, "Where to?", Trip)
    assert len(asked) == 3


async def test_types_that_are_no_objects_are_asked_for_as_a_field() -> None:
    ask, asked = agent({"value": ["a", "b"]})
    assert await ask_for(ask, "Which?", list[str]) == ["a", "b"]
    assert asked[0][1]["properties"]["value"]["type"] == "array"
