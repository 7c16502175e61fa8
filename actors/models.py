"""The gateway as an actor: one a node, so that agents hold neither SDKs nor keys.

`ModelActor` is a shell around `Gateway`; it reads keys from the environment of its own process, at first use.
`ModelsHandle` is what agents get.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import Mapping
from typing import Any

from repertory.actors.handles import Ref
from repertory.errors import ModelTimeout, ModelUnavailable, OutcomeUnknown, RouteError
from repertory.llm.budgets import BudgetCounter
from repertory.llm.gateway import Gateway, ProviderFactory
from repertory.llm.protocol import ModelAnswer, ModelRequest
from repertory.llm.providers import provider_factories
from repertory.llm.settings import GatewaySettings

#: for the way there and back, on top of the request's own limit
_GRACE_S = 15.0
#: for the first question to a provider, whose SDK is imported then
_OPEN_S = 60.0
#: for a word with the counter of budgets, and before it is asked again when it did not answer
_LEASE_S = 10.0
_LEASE_AGAIN_S = 1.0
#: before the same request is sent again to a gateway that may have been replaced
_AGAIN_S = 0.2


class ModelActor:
    """The LLM gateway of a node."""

    def __init__(
        self,
        settings: GatewaySettings | None = None,
        *,
        seed: int | None = None,
        providers: Mapping[str, ProviderFactory] | None = None,
        budgets: Ref | None = None,
    ) -> None:
        """Make one.

        Args:
            settings: which providers there are and how hard they may be driven.
            seed: for the jitter of back-offs; None: by chance.
            providers: instead of those of the settings (tests, the simulator).
            budgets: a `BudgetActor`, where several gateways share the keys' limits; None: this is the only one.
        """
        settings = settings or GatewaySettings()
        if providers is None:
            providers = provider_factories(settings, os.environ)
        self._budgets = budgets
        lease = self._leased if budgets is not None else None
        self._gateway = Gateway(providers, settings, chance=random.Random(seed), lease=lease)

    async def answer(self, request: ModelRequest, stream: bool = False, caller: str = "") -> ModelAnswer:
        """Ask the model; see `Gateway.answer`."""
        return await self._gateway.answer(request, stream=stream, caller=caller)

    async def deltas(self, request_id: str, after: int, wait_s: float) -> list[dict[str, Any]]:
        """What of the answer has come since; see `Gateway.deltas`."""
        return await self._gateway.deltas(request_id, after, wait_s)

    async def cancel(self, request_id: str, caller: str = "") -> bool:
        """Stop asking, unless someone else waits too; whether it was stopped."""
        return self._gateway.cancel(request_id, caller)

    async def context_window(self, handle: str) -> int:
        """Tokens of a request and its answer together."""
        return await self._gateway.context_window(handle)

    async def status(self) -> dict[str, Any]:
        """What is going on, as plain data; see `Gateway.status`."""
        return self._gateway.status()

    async def usage(self, agent_id: str) -> dict[str, int]:
        """Tokens that one agent has used at this gateway."""
        used = self._gateway.accounts.agent(agent_id)
        return {
            "input_tokens": used.input_tokens,
            "output_tokens": used.output_tokens,
            "cached_tokens": used.cached_tokens,
            "requests": used.requests,
        }

    async def close(self) -> None:
        """Stop everything."""
        await self._gateway.close()

    async def _leased(self, name: str, units: float) -> tuple[float, float]:
        assert self._budgets is not None
        try:
            granted, wait_s = await self._budgets.call("lease", name, units, timeout_s=_LEASE_S)
        except RouteError:
            return 0.0, _LEASE_AGAIN_S  # a lease whose answer got lost counts as used
        return granted, wait_s


class BudgetActor:
    """Keeps the limits of all keys for a cluster with several gateways; there is one."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._counter = BudgetCounter(settings.providers)

    async def lease(self, name: str, units: float) -> tuple[float, float]:
        """Hand out a portion; see `BudgetCounter.lease`."""
        return self._counter.lease(name, units)


class ModelsHandle:
    """How agents ask models."""

    def __init__(self, ref: Ref) -> None:
        self._ref = ref
        self._calls = itertools.count()
        #: under which name this handle waits for an answer, by request id
        self._callers: dict[str, str] = {}

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
        """Tokens of a request and its answer together. Raises ConfigError for an unknown provider."""
        window: int = await self._ref.call("context_window", handle, timeout_s=_OPEN_S)
        return window
