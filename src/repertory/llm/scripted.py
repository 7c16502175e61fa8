"""A provider whose answers are given beforehand: by a list, or by a function of the request.

As complete as the real ones, for tests, demonstrations and the simulator. It records what it was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from repertory.errors import AnswerInvalid, ModelError
from repertory.llm.assembly import replay
from repertory.llm.handles import window_of
from repertory.llm.protocol import ModelAnswer, ModelRequest, OnDelta

Reply = ModelAnswer | ModelError | str
Script = Callable[[ModelRequest], Reply]


class Scripted:
    """Answers from a script. It implements `Provider`."""

    def __init__(self, script: Script | Iterable[Reply], *, delay_s: float = 0.0, window: int | None = None) -> None:
        """Make one.

        Args:
            script: a function from request to reply, or the replies in order. A reply is an answer, its text, or an
                error to raise.
            delay_s: how long each answer takes.
            window: context window in tokens; None: what the model's name says.
        """
        self._script = script if callable(script) else _in_order(script)
        self._delay_s = delay_s
        self._window = window
        #: every request so far, oldest first
        self.asked: list[ModelRequest] = []

    async def answer(self, request: ModelRequest, model: str, on_delta: OnDelta | None = None) -> ModelAnswer:
        """The script's next reply."""
        self.asked.append(request)
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        reply = self._script(request)
        if isinstance(reply, ModelError):
            raise reply
        answer = ModelAnswer(text=reply, model=request.model) if isinstance(reply, str) else reply
        if on_delta is not None:
            replay(answer, on_delta)
        return answer

    def context_window(self, model: str) -> int:
        """The window that was given, or the one that the name stands for."""
        return self._window or window_of(model)

    async def close(self) -> None:
        """Nothing to give back."""


def _in_order(replies: Iterable[Reply]) -> Script:
    left = iter(replies)

    def next_reply(request: ModelRequest) -> Reply:
        try:
            return next(left)
        except StopIteration:
            return AnswerInvalid(f"The script has no reply left for request {request.request_id!r}.")

    return next_reply
