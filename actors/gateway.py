"""The gateway as an actor: one a node, so that agents hold neither SDKs nor keys.

`ModelActor` is a shell around `Gateway`; it reads keys from the environment of its own process, at first use. What
agents get is `models.ModelsHandle`, in a module of its own: this one here brings half a second of imports and 7 MB
(pydantic, settings, providers), which no agent's process needs.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from typing import Any

from repertory.actors.handles import Ref
from repertory.errors import RouteError
from repertory.llm.gateway import Gateway, ProviderFactory
from repertory.llm.protocol import ModelAnswer, ModelRequest
from repertory.llm.providers import provider_factories
from repertory.llm.settings import GatewaySettings

#: for a word with the gateway that keeps the budgets, and before it is asked again when it did not answer
_LEASE_S = 10.0
_LEASE_AGAIN_S = 1.0


class ModelActor:
    """The LLM gateway of a node."""

    def __init__(
        self,
        settings: GatewaySettings | None = None,
        *,
        seed: int | None = None,
        providers: Mapping[str, ProviderFactory] | None = None,
        first: Ref | None = None,
    ) -> None:
        """Make one.

        Args:
            settings: which providers there are and how hard they may be driven.
            seed: for the jitter of back-offs; None: by chance.
            providers: instead of those of the settings (tests, the simulator).
            first: the gateway that keeps the budgets of the keys; None: this one does.
        """
        settings = settings or GatewaySettings()
        if providers is None:
            providers = provider_factories(settings, os.environ)
        self._first = first
        lease = self._leased if first is not None else None
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

    async def lease(self, name: str, units: float) -> tuple[float, float]:
        """Hand out a part of a budget to the gateway of another node; see `Gateway.lease`."""
        return self._gateway.lease(name, units)

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
        assert self._first is not None
        try:
            granted, wait_s = await self._first.call("lease", name, units, timeout_s=_LEASE_S)
        except RouteError:
            return 0.0, _LEASE_AGAIN_S  # a lease whose answer got lost counts as used
        return granted, wait_s
