"""How agents reach the gateway of their node. The gateway itself is `actors.gateway`, and much heavier."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import Any

from repertory.actors.handles import Ref
from repertory.errors import ModelTimeout, ModelUnavailable, OutcomeUnknown
from repertory.llm.protocol import ModelAnswer, ModelRequest

#: for the way there and back, on top of the request's own limit
_GRACE_S = 15.0
#: for the first question to a provider, whose SDK is imported then
_OPEN_S = 60.0
#: before the same request is sent again to a gateway that may have been replaced
_AGAIN_S = 0.2


class ModelsHandle:
    """How agents ask models."""

    def __init__(self, ref: Ref) -> None:
        self._ref = ref
        self._calls = itertools.count()
        #: under which name this handle waits for an answer, by request id
        self._callers: dict[str, str] = {}
        #: by model handle; they do not change while a gateway runs
        self._windows: dict[str, int] = {}

    async def answer(self, request: ModelRequest, *, stream: bool = False) -> ModelAnswer:
        """Ask the model.

        A gateway that died or lost the answer is asked again under the same request id, within the request's time.

        Raises:
            ModelError: the model could not answer.
            ConfigError: no such provider, or no key.
        """
        # Different in every process and for every call; nothing depends on what it is.
        caller = f"{os.getpid()}/{id(self)}/{next(self._calls)}"
        self._callers[request.request_id] = caller
        try:
            return await self._ask(request, stream, caller)
        except asyncio.CancelledError:
            # nobody wants the answer any more: do not pay for it
            self._ref.tell("cancel", request.request_id, caller)
            raise
        finally:
            if self._callers.get(request.request_id) == caller:
                del self._callers[request.request_id]

    async def _ask(self, request: ModelRequest, stream: bool, caller: str) -> ModelAnswer:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.timeout_s
        while (left_s := deadline - loop.time()) > 0:
            try:
                answer: ModelAnswer = await self._ref.call(
                    "answer", request, stream, caller, timeout_s=left_s + _GRACE_S
                )
                return answer
            except OutcomeUnknown as error:
                if loop.time() + _AGAIN_S >= deadline:
                    raise ModelUnavailable(f"The gateway to {request.model} cannot be reached.") from error
                await asyncio.sleep(_AGAIN_S)
        raise ModelTimeout(f"{request.model} did not answer within {request.timeout_s:g} seconds.")

    async def deltas(self, request_id: str, *, after: int = 0, wait_s: float = 10.0) -> list[dict[str, Any]]:
        """Pieces of a streamed answer behind number `after`; empty if none came within `wait_s`."""
        pieces: list[dict[str, Any]] = await self._ref.call(
            "deltas", request_id, after, wait_s, timeout_s=wait_s + _GRACE_S
        )
        return pieces

    async def cancel(self, request_id: str) -> bool:
        """Stop asking for what this handle waits for, unless someone else waits too; whether it was stopped."""
        caller = self._callers.get(request_id, "")
        stopped: bool = await self._ref.call("cancel", request_id, caller, timeout_s=_GRACE_S)
        return stopped

    async def context_window(self, handle: str) -> int:
        """Tokens of a request and its answer together, asked once. Raises ConfigError for an unknown provider."""
        window = self._windows.get(handle)
        if window is None:
            window = self._windows[handle] = int(await self._ref.call("context_window", handle, timeout_s=_OPEN_S))
        return window
