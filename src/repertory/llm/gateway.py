"""The one place where a model is asked: retries, limits, deadlines, and one answer for one request id.

Providers ask once and say what went wrong; what to do about it is decided here, the same for all of them:

=====================  ================================================================================
rate limited           wait as long as the provider asks (everyone does), and ask again until the time is up
away, cut off, slow    back off (doubling, with jitter) and ask again; the breaker spares a dead provider
empty answer           ask again a few times, then `AnswerInvalid`
malformed tool call    no retry: it stays in the answer (`ToolCall.malformed`), and the model is told
refused, too long      raised at once
=====================  ================================================================================

Every wait ends with the request's own time limit. Plain asyncio, no Ray: the actor around it is a shell.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import Any

from repertory.errors import (
    AnswerInvalid,
    ModelError,
    ModelTimeout,
    ModelUnavailable,
    RateLimited,
    RunCancelled,
)
from repertory.llm.accounting import Accounts
from repertory.llm.assembly import replay
from repertory.llm.budgets import Lease
from repertory.llm.deltas import DeltaBuffer
from repertory.llm.handles import ModelHandle, parse_handle
from repertory.llm.limits import Limits
from repertory.llm.protocol import ModelAnswer, ModelRequest, Provider
from repertory.llm.settings import GatewaySettings, ProviderSettings

ProviderFactory = Callable[[], Provider | Awaitable[Provider]]

#: answers kept for those who ask again after a lost reply
_KEPT_ANSWERS = 512
#: old buffers that are looked at when a new one is made: more than one, so that they cannot grow without end
_SWEPT = 4
#: a rough measure, only for limiting the rate of tokens
_CHARS_PER_TOKEN = 4


class Gateway:
    """Asks models on behalf of agents."""

    def __init__(
        self,
        providers: Mapping[str, ProviderFactory],
        settings: GatewaySettings,
        *,
        chance: random.Random,
        lease: Lease | None = None,
    ) -> None:
        """Make one.

        Args:
            providers: by name, functions that open a provider; called when one is first needed.
            settings: limits and patience.
            chance: the source of jitter, seeded in a simulation.
            lease: where the budgets of keys are kept, if that is another gateway; None: here.
        """
        self._factories = providers
        self._settings = settings
        self._chance = chance
        self._lease = lease
        self._open: dict[str, Provider] = {}
        self._opening = asyncio.Lock()
        self._limits: dict[str, Limits] = {}
        self._running: dict[str, asyncio.Task[ModelAnswer]] = {}
        #: who waits for which answer
        self._waiting: dict[str, dict[str, None]] = {}
        self._answered: OrderedDict[str, ModelAnswer] = OrderedDict()
        #: looked through from the front for those that nobody needs any more
        self._buffers: OrderedDict[str, DeltaBuffer] = OrderedDict()
        self.accounts = Accounts()

    async def answer(self, request: ModelRequest, *, stream: bool = False, caller: str = "") -> ModelAnswer:
        """Ask the model.

        A request id that is being answered joins in; one that was just answered gets the same answer.

        Args:
            request: what to ask.
            stream: let the pieces be read by `deltas` while they come.
            caller: tells those apart who wait for the same answer, so that one can `cancel` for itself.

        Raises:
            ModelError: the model could not answer, after all retries.
            ConfigError: no such provider, or no key for it.
            RunCancelled: `cancel` was called.
        """
        known = self._answered.get(request.request_id)
        if known is not None:
            return known
        task = self._running.get(request.request_id)
        if task is None:
            task = asyncio.create_task(self._answer(request, stream), name=f"model {request.request_id}")
            self._running[request.request_id] = task
            # A callback, because a task that is cancelled before it begins runs no `finally`.
            task.add_done_callback(lambda _: self._running.pop(request.request_id))
        waiting = self._waiting.setdefault(request.request_id, {})
        waiting[caller] = None
        try:
            # Shielded: a caller that goes away does not take the answer from one who asks again.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise RunCancelled("The request to the model was cancelled.") from None
            raise
        finally:
            waiting.pop(caller, None)
            if not waiting and self._waiting.get(request.request_id) is waiting:
                del self._waiting[request.request_id]

    async def deltas(self, request_id: str, after: int, wait_s: float) -> list[dict[str, Any]]:
        """The pieces of an answer behind number `after`, oldest first; empty if none came within `wait_s`.

        Each is a dict with its number `n` and a `kind`: `text`, `reasoning` and `tool_call` as in `Delta`; `reset`:
        all before it is void, the request is tried anew; `gap`: pieces were dropped before this reader came; `end`:
        no more will come.
        """
        return await self._buffer(request_id).after(after, wait_s)

    def cancel(self, request_id: str, caller: str = "") -> bool:
        """Stop asking, unless someone else waits for the same answer. Returns whether it was stopped."""
        task = self._running.get(request_id)
        others = [name for name in self._waiting.get(request_id, ()) if name != caller]
        return task is not None and not others and task.cancel()

    def status(self) -> dict[str, Any]:
        """What is going on, as plain data."""
        return {
            "running": len(self._running),
            "streams": len(self._buffers),
            "providers": dict(self.accounts.as_dict()),
            "held_back": [name for name, limits in self._limits.items() if limits.breaker.is_open],
        }

    async def context_window(self, handle: str) -> int:
        """Tokens that a request and its answer may have together. Raises ConfigError for an unknown provider."""
        parts = parse_handle(handle, self._factories)
        return (await self._provider(parts.provider)).context_window(parts.model)

    async def close(self) -> None:
        """Stop everything and give connections back."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for provider in self._open.values():
            await provider.close()
        self._open.clear()

    async def _answer(self, request: ModelRequest, stream: bool) -> ModelAnswer:
        buffer = self._buffer(request.request_id) if stream else self._buffers.get(request.request_id)
        try:
            handle = parse_handle(request.model, self._factories)
            if buffer is not None:
                buffer.reopen()
            try:
                async with asyncio.timeout(request.timeout_s):
                    answer = await self._persist(request, handle, buffer if stream else None)
            except TimeoutError:
                self.accounts.of(handle.provider).failures += 1
                raise ModelTimeout(f"{request.model} did not answer within {request.timeout_s:g} seconds.") from None
            if buffer is not None and not stream:
                replay(answer, buffer.add)
        finally:
            if buffer is not None:
                buffer.end()
        self._answered[request.request_id] = answer
        while len(self._answered) > _KEPT_ANSWERS:
            self._answered.popitem(last=False)
        return answer

    async def _persist(self, request: ModelRequest, handle: ModelHandle, buffer: DeltaBuffer | None) -> ModelAnswer:
        """Try, and try again where that may help."""
        patience = self._settings.patience
        totals = self.accounts.of(handle.provider)
        deadline = asyncio.get_running_loop().time() + request.timeout_s
        tries = empty = limited = 0
        while True:
            try:
                answer = await self._try(request, handle, buffer, deadline)
                if not _is_empty(answer):
                    return answer
                empty += 1
                failure: ModelError = AnswerInvalid(
                    f"{request.model} gave an empty answer {empty} times.", finish=answer.finish
                )
                final = empty >= patience.attempts_invalid
            except RateLimited as error:
                limited += 1
                failure, final = error, False
            except (ModelUnavailable, ModelTimeout) as error:
                tries += 1
                failure = error
                final = tries >= patience.attempts or bool(error.data.get("given_up"))
            except ModelError as error:
                failure, final = error, True
            totals.last_error = type(failure).__name__
            pause_s = self._pause(failure, tries + empty + limited)
            if final or asyncio.get_running_loop().time() + pause_s >= deadline:
                totals.failures += 1
                raise failure
            totals.retries += 1
            if buffer is not None:
                buffer.reset()
            await asyncio.sleep(pause_s)

    async def _try(
        self, request: ModelRequest, handle: ModelHandle, buffer: DeltaBuffer | None, deadline: float
    ) -> ModelAnswer:
        """Ask once, within all limits."""
        provider = await self._provider(handle.provider)
        limits = self._limits_of(handle.provider)
        estimate = _estimated_tokens(request)
        async with limits.slots:
            await limits.admit(estimate, deadline)
            try:
                answer = await self._timed(provider, request, handle.model, buffer, deadline)
            except (ModelUnavailable, ModelTimeout):
                limits.breaker.failed()
                raise
            except RateLimited as error:
                limits.breaker.succeeded()
                limits.pause(error.data.get("retry_after_s") or 0.0)
                raise
            except asyncio.CancelledError:
                limits.breaker.abandoned()
                raise
            except Exception:
                limits.breaker.succeeded()
                raise
        limits.breaker.succeeded()
        limits.settle(estimate, answer.usage.input_tokens + answer.usage.output_tokens)
        price = self._settings_of(handle.provider).prices.get(handle.model)
        self.accounts.answered(handle.provider, request.agent_id, answer.usage, price)
        return answer

    async def _timed(
        self, provider: Provider, request: ModelRequest, model: str, buffer: DeltaBuffer | None, deadline: float
    ) -> ModelAnswer:
        now = asyncio.get_running_loop().time()
        within_s = min(self._settings.patience.attempt_s, deadline - now)
        try:
            async with asyncio.timeout(within_s):
                return await provider.answer(request, model, buffer.add if buffer is not None else None)
        except TimeoutError:
            raise ModelTimeout(f"{request.model} did not answer within {within_s:.1f} seconds.") from None

    def _pause(self, failure: ModelError, count: int) -> float:
        """Exponential back-off with full jitter on its upper half; never less than what the provider asked for."""
        patience = self._settings.patience
        grown: float = min(patience.backoff_s * 2 ** max(count - 1, 0), patience.backoff_most_s)
        jittered = grown * (0.5 + self._chance.random() / 2)
        asked: float = failure.data.get("retry_after_s") or 0.0
        return max(jittered, asked)

    def lease(self, name: str, units: float) -> tuple[float, float]:
        """Hand out a part of the budget `provider/what` to another gateway; see `OwnBudget.lease`."""
        provider, what = name.split("/")
        return self._limits_of(provider).lease(what, units)

    async def _provider(self, name: str) -> Provider:
        if name not in self._open:
            async with self._opening:
                if name not in self._open:
                    made = self._factories[name]()
                    self._open[name] = await made if isinstance(made, Awaitable) else made
        return self._open[name]

    def _limits_of(self, name: str) -> Limits:
        if name not in self._limits:
            self._limits[name] = Limits(name, self._settings_of(name), self._settings.patience, self._lease)
        return self._limits[name]

    def _settings_of(self, name: str) -> ProviderSettings:
        return self._settings.providers.get(name) or ProviderSettings(kind="offline")

    def _buffer(self, request_id: str) -> DeltaBuffer:
        """The buffer of a request; a listener may come before the request itself does."""
        now = asyncio.get_running_loop().time()
        keep_s = self._settings.patience.keep_deltas_s
        for old in list(islice(self._buffers, _SWEPT)):
            if now - self._buffers[old].touched > keep_s and old not in self._running:
                del self._buffers[old]
            else:
                self._buffers.move_to_end(old)
        if request_id not in self._buffers:
            self._buffers[request_id] = DeltaBuffer()
        return self._buffers[request_id]


def _is_empty(answer: ModelAnswer) -> bool:
    return not answer.tool_calls and not answer.text.strip() and answer.finish != "refused"


def _estimated_tokens(request: ModelRequest) -> float:
    characters = sum(len(message.text) for message in request.messages)
    return characters / _CHARS_PER_TOKEN
