"""The gateway: what it does when a provider fails, and what it promises to those who ask."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from provider_conformance import NOTE, request, user
from wire.openai_wire import OpenAIWire
from wire.server import KEY, Cut, Drop, Hang, Refuse, Reply, WireServer

from repertory.actors.gateway import ModelActor
from repertory.actors.models import ModelsHandle
from repertory.errors import (
    AnswerInvalid,
    ContextTooLong,
    MissingKey,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    OutcomeUnknown,
    RateLimited,
    RunCancelled,
    UnknownModel,
)
from repertory.llm.gateway import Gateway
from repertory.llm.protocol import Delta, ModelAnswer, ModelRequest, OnDelta, Provider
from repertory.llm.providers import provider_factories
from repertory.llm.scripted import Reply as ScriptedReply
from repertory.llm.scripted import Scripted
from repertory.llm.settings import GatewaySettings, Patience, ProviderSettings, default_providers
from repertory.messages import ToolCall, Usage

QUICK = Patience(backoff_s=0.001, backoff_most_s=0.002, open_s=0.01, open_most_s=0.02)
AWAY = ModelUnavailable("away")


def gateway_of(provider: Provider, patience: Patience = QUICK, **limits: Any) -> Gateway:
    settings = GatewaySettings(providers={"test": ProviderSettings(kind="offline", **limits)}, patience=patience)
    return Gateway({"test": lambda: provider}, settings, chance=random.Random(1))


class Controlled:
    """A provider whose answers a test lets go one by one."""

    def __init__(self, work: Callable[[ModelRequest, OnDelta | None], Awaitable[ModelAnswer]] | None = None) -> None:
        self._work = work
        self.let_go = asyncio.Event()
        self.started = asyncio.Event()
        self.asked = 0
        self.now = 0
        self.most = 0

    async def answer(self, request: ModelRequest, model: str, on_delta: OnDelta | None = None) -> ModelAnswer:
        self.asked += 1
        self.now += 1
        self.most = max(self.most, self.now)
        self.started.set()
        try:
            if self._work is not None:
                return await self._work(request, on_delta)
            await self.let_go.wait()
            return ModelAnswer(text="late")
        finally:
            self.now -= 1

    def context_window(self, model: str) -> int:
        return 1_000

    async def close(self) -> None:
        pass


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_what_may_pass_is_tried_again() -> None:
    model = Scripted([AWAY, ModelTimeout("slow"), RateLimited("busy", retry_after_s=None), "at last"])
    gateway = gateway_of(model)
    assert (await gateway.answer(request(user("?")))).text == "at last"
    assert gateway.status()["providers"]["test"]["retries"] == 3
    assert gateway.status()["providers"]["test"]["failures"] == 0
    assert gateway.status()["running"] == 0


@pytest.mark.parametrize("error", [ModelRefused("bad key"), ContextTooLong("too long")])
async def test_what_will_not_pass_is_raised_at_once(error: ModelRefused | ContextTooLong) -> None:
    model = Scripted([error, "never"])
    with pytest.raises(type(error)):
        await gateway_of(model).answer(request(user("?")))
    assert len(model.asked) == 1


async def test_it_gives_up_after_a_bounded_number_of_tries() -> None:
    model = Scripted([AWAY] * 99)
    with pytest.raises(ModelUnavailable):
        await gateway_of(model).answer(request(user("?")))
    assert len(model.asked) == QUICK.attempts


async def test_an_empty_answer_is_asked_for_again_and_then_has_a_name() -> None:
    assert (await gateway_of(Scripted(["", " \n", "words"])).answer(request(user("?")))).text == "words"
    model = Scripted([""] * 99)
    with pytest.raises(AnswerInvalid):
        await gateway_of(model).answer(request(user("?")))
    assert len(model.asked) == QUICK.attempts_invalid


async def test_a_malformed_tool_call_is_left_for_the_model_to_be_told() -> None:
    broken = ModelAnswer(tool_calls=(ToolCall(id="1", name="note", malformed="{"),), finish="tool_calls")
    model = Scripted([broken])
    assert await gateway_of(model).answer(request(user("?"), tools=(NOTE,))) == broken


async def test_when_the_provider_asks_for_quiet_everyone_is_quiet() -> None:
    sent: list[float] = []

    def script(asked: ModelRequest) -> ScriptedReply:
        sent.append(asyncio.get_running_loop().time())
        return RateLimited("busy", retry_after_s=0.05) if len(sent) == 1 else "fine"

    gateway = gateway_of(Scripted(script))
    first = asyncio.create_task(gateway.answer(request(user("1"), request_id="1")))
    await until(lambda: bool(sent))
    await asyncio.gather(first, gateway.answer(request(user("2"), request_id="2")))
    assert len(sent) == 3
    assert min(sent[1:]) - sent[0] >= 0.049


async def test_a_wait_that_would_outlast_the_deadline_is_not_begun() -> None:
    model = Scripted([RateLimited("busy", retry_after_s=3600.0), "never"])
    with pytest.raises(RateLimited):
        await gateway_of(model).answer(request(user("?"), timeout_s=60.0))
    assert len(model.asked) == 1


async def test_a_model_that_never_answers_ends_at_the_deadline() -> None:
    model = Controlled()
    with pytest.raises(ModelTimeout):
        await gateway_of(model).answer(request(user("?"), timeout_s=0.05))
    assert model.now == 0, "nothing is left running"


async def test_one_slow_try_does_not_use_up_the_whole_time() -> None:
    async def work(asked: ModelRequest, on_delta: OnDelta | None) -> ModelAnswer:
        if model.asked == 1:
            await asyncio.Event().wait()
        return ModelAnswer(text="second try")

    model = Controlled(work)
    patience = Patience(backoff_s=0.001, attempt_s=0.1)
    assert (await gateway_of(model, patience).answer(request(user("?")))).text == "second try"


async def test_the_same_request_is_sent_once_and_its_answer_kept() -> None:
    model = Controlled()
    gateway = gateway_of(model)
    asked = [asyncio.create_task(gateway.answer(request(user("?")))) for _ in range(5)]
    await model.started.wait()
    model.let_go.set()
    answers = await asyncio.gather(*asked)
    assert all(answer is answers[0] for answer in answers)
    assert await gateway.answer(request(user("?"))) is answers[0]
    assert model.asked == 1
    await gateway.answer(request(user("?"), request_id="another"))
    assert model.asked == 2


async def test_a_caller_that_goes_away_can_come_back_for_its_answer() -> None:
    model = Controlled()
    gateway = gateway_of(model)
    first = asyncio.create_task(gateway.answer(request(user("?"))))
    await model.started.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    again = asyncio.create_task(gateway.answer(request(user("?"))))
    await asyncio.sleep(0)
    model.let_go.set()
    assert (await again).text == "late"
    assert model.asked == 1


async def test_a_failed_request_may_be_sent_again_under_its_id() -> None:
    gateway = gateway_of(Scripted([ModelRefused("no credit"), "now"]))
    with pytest.raises(ModelRefused):
        await gateway.answer(request(user("?")), stream=True)
    assert (await gateway.answer(request(user("?")), stream=True)).text == "now"
    kinds = [piece["kind"] for piece in await gateway.deltas("r1", 0, 1.0)]
    assert kinds == ["end", "reset", "text", "end"]


async def test_cancelling_stops_the_request_and_tells_everyone() -> None:
    model = Controlled()
    gateway = gateway_of(model)
    asked = asyncio.create_task(gateway.answer(request(user("?")), stream=True))
    await model.started.wait()
    assert gateway.cancel("r1")
    with pytest.raises(RunCancelled):
        await asked
    assert [piece["kind"] for piece in await gateway.deltas("r1", 0, 1.0)] == ["end"]
    assert not gateway.cancel("r1")
    assert model.now == 0


async def test_a_listener_that_comes_first_hears_every_piece_once() -> None:
    async def work(asked: ModelRequest, on_delta: OnDelta | None) -> ModelAnswer:
        assert on_delta is not None
        for piece in ("one ", "two ", "three"):
            on_delta(Delta(kind="text", text=piece))
            await asyncio.sleep(0)
        return ModelAnswer(text="one two three")

    gateway = gateway_of(Controlled(work))

    async def listen() -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = []
        while not heard or heard[-1]["kind"] != "end":
            heard += await gateway.deltas("r1", heard[-1]["n"] if heard else 0, 10.0)
        return heard

    listener = asyncio.create_task(listen())
    await asyncio.sleep(0)
    await gateway.answer(request(user("?")), stream=True)
    heard = await listener
    assert [piece["n"] for piece in heard] == [1, 2, 3, 4]
    assert "".join(piece.get("text", "") for piece in heard) == "one two three"


async def test_pieces_of_a_try_that_broke_off_are_void() -> None:
    async def work(asked: ModelRequest, on_delta: OnDelta | None) -> ModelAnswer:
        assert on_delta is not None
        if model.asked == 1:
            on_delta(Delta(kind="text", text="wro"))
            raise ModelUnavailable("cut")
        on_delta(Delta(kind="text", text="right"))
        return ModelAnswer(text="right")

    model = Controlled(work)
    gateway = gateway_of(model)
    await gateway.answer(request(user("?")), stream=True)
    heard = await gateway.deltas("r1", 0, 0.0)
    assert [piece["kind"] for piece in heard] == ["text", "reset", "text", "end"]
    assert heard[2]["text"] == "right"


async def test_listening_to_an_answer_that_is_not_streamed_gives_it_whole() -> None:
    gateway = gateway_of(Scripted(["all at once"]))
    assert await gateway.deltas("r1", 0, 0.0) == []
    await gateway.answer(request(user("?")))
    heard = await gateway.deltas("r1", 0, 0.0)
    assert [(piece["kind"], piece.get("text")) for piece in heard] == [("text", "all at once"), ("end", None)]


async def test_old_buffers_are_dropped() -> None:
    gateway = gateway_of(Scripted(["a", "b"]), Patience(keep_deltas_s=-1.0))
    await gateway.answer(request(user("?"), request_id="1"), stream=True)
    await gateway.answer(request(user("?"), request_id="2"), stream=True)
    assert gateway.status()["streams"] == 1


async def test_a_provider_that_is_down_is_probed_by_one_while_the_others_wait() -> None:
    up = False

    async def work(asked: ModelRequest, on_delta: OnDelta | None) -> ModelAnswer:
        await asyncio.sleep(0)
        if not up:
            raise ModelUnavailable("down")
        return ModelAnswer(text="up")

    model = Controlled(work)
    patience = Patience(backoff_s=0.001, backoff_most_s=0.001, attempts=10_000, failures_to_open=4, open_s=0.005,
                        open_most_s=0.005)  # fmt: skip
    gateway = gateway_of(model, patience)
    asked = [asyncio.create_task(gateway.answer(request(user("?"), request_id=str(n)))) for n in range(20)]
    await until(lambda: gateway.status()["held_back"] and not model.now)
    model.most = 0
    before = model.asked
    await until(lambda: model.asked >= before + 5)
    assert model.most == 1, "one at a time while it is down"
    up = True
    answers = await asyncio.gather(*asked)
    assert {answer.text for answer in answers} == {"up"}
    assert gateway.status()["held_back"] == []


async def test_a_provider_that_stays_down_is_given_up() -> None:
    patience = Patience(attempts=10_000, backoff_s=0.001, backoff_most_s=0.001, failures_to_open=2, open_s=0.01,
                        open_most_s=0.01, wait_open_s=0.0)  # fmt: skip
    model = Scripted(lambda _: AWAY)
    with pytest.raises(ModelUnavailable, match="left alone"):
        await gateway_of(model, patience).answer(request(user("?")))
    assert len(model.asked) == 2


async def test_no_more_answers_are_under_way_than_the_provider_may_have() -> None:
    model = Controlled()
    gateway = gateway_of(model, max_concurrent=3)
    asked = [asyncio.create_task(gateway.answer(request(user("?"), request_id=str(n)))) for n in range(12)]
    await model.started.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert model.now == 3
    model.let_go.set()
    await asyncio.gather(*asked)
    assert model.most == 3
    assert model.asked == 12


async def test_requests_a_minute_are_kept_within_the_limit() -> None:
    model = Scripted(lambda _: "yes")
    gateway = gateway_of(model, requests_per_minute=2)
    answers = await asyncio.gather(
        *(gateway.answer(request(user("?"), request_id=str(n), timeout_s=10.0)) for n in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, ModelAnswer) for answer in answers) == 2
    assert sum(isinstance(answer, RateLimited) for answer in answers) == 6


async def test_the_books_name_provider_and_agent() -> None:
    answer = ModelAnswer(text="yes", usage=Usage(input_tokens=1_000, output_tokens=500, requests=1))
    gateway = gateway_of(Scripted([answer, answer]), prices={"model": (2.0, 4.0)})
    await gateway.answer(request(user("?"), request_id="1", agent_id="agent-1"))
    await gateway.answer(request(user("?"), request_id="2", agent_id="agent-2"))
    totals = gateway.accounts.of("test")
    assert totals.usage == Usage(input_tokens=2_000, output_tokens=1_000, requests=2)
    assert totals.cost_usd == pytest.approx(0.008)
    assert gateway.accounts.agent("agent-1").input_tokens == 1_000


@pytest.mark.parametrize("handle", ["gpt-4o", "nowhere/gpt-4o", "test/", "/x"])
async def test_an_unknown_handle_is_refused_with_the_providers_that_exist(handle: str) -> None:
    with pytest.raises(UnknownModel, match="test"):
        await gateway_of(Scripted([])).answer(request(user("?"), model=handle))


async def test_a_missing_key_is_reported_when_the_provider_is_needed() -> None:
    settings = GatewaySettings()
    gateway = Gateway(provider_factories(settings, {}), settings, chance=random.Random(1))
    with pytest.raises(MissingKey, match="ANTHROPIC_API_KEY"):
        await gateway.answer(request(user("?"), model="anthropic/claude-sonnet-4-5"))
    assert await gateway.context_window("offline/rules") == 100_000


async def test_a_request_that_is_cancelled_before_it_begins_leaves_nothing_behind() -> None:
    gateway = gateway_of(Scripted(["again"]))
    asked = asyncio.create_task(gateway.answer(request(user("?"))))
    await asyncio.sleep(0)
    assert gateway.cancel("r1")
    with pytest.raises(RunCancelled):
        await asked
    assert gateway.status()["running"] == 0
    assert (await gateway.answer(request(user("?")))).text == "again"


async def test_closing_stops_what_runs() -> None:
    model = Controlled()
    gateway = gateway_of(model)
    asked = asyncio.create_task(gateway.answer(request(user("?"))))
    await model.started.wait()
    await gateway.close()
    with pytest.raises(RunCancelled):
        await asked


@pytest.mark.parametrize("stream", [False, True])
async def test_over_the_wire_an_answer_comes_through_all_kinds_of_trouble(stream: bool) -> None:
    # also what the server says by itself: on a slow machine one more try may come too late
    good = Reply(text="ok: What is the answer?")
    async with WireServer(OpenAIWire()) as server:
        server.order(
            Refuse(status=429, retry_after="0.01"),
            Refuse(status=503),
            Drop(),
            Cut(reply=good, pieces=3),
            Hang(),
            Reply(),
            good,
        )
        settings = GatewaySettings(
            providers=default_providers(),
            patience=Patience(backoff_s=0.001, attempts=50, attempt_s=1.0),
        )
        environ = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url + "/v1"}
        gateway = Gateway(provider_factories(settings, environ), settings, chance=random.Random(1))
        answer = await gateway.answer(request(user("What is the answer?"), model="openai/gpt-4o-mini"), stream=stream)
        assert answer.text == good.text
        if stream:
            heard = await gateway.deltas("r1", 0, 0.0)
            last = max(n for n, piece in enumerate(heard) if piece["kind"] == "reset")
            assert "".join(piece.get("text", "") for piece in heard[last:]) == good.text
        await gateway.close()


class LocalRef:
    """Calls an actor in this process, and loses the first replies."""

    key = "local"

    def __init__(self, actor: object, lose: Iterable[str] = ()) -> None:
        self._actor = actor
        self._lose = list(lose)

    async def call(self, method: str, /, *args: Any, timeout_s: float, **kwargs: Any) -> Any:
        value = await getattr(self._actor, method)(*args, **kwargs)
        if method in self._lose:
            self._lose.remove(method)
            raise OutcomeUnknown("the reply got lost")
        return value

    def tell(self, method: str, /, *args: Any, **kwargs: Any) -> None:
        self._told = asyncio.create_task(getattr(self._actor, method)(*args, **kwargs))


async def test_a_lost_reply_is_fetched_again_without_asking_the_model_twice() -> None:
    model = Scripted(["once", "twice"])
    actor = ModelActor(providers={"test": lambda: model}, seed=1)
    handle = ModelsHandle(LocalRef(actor, lose=["answer"]))
    assert (await handle.answer(request(user("?")), stream=True)).text == "once"
    assert len(model.asked) == 1
    assert [piece["kind"] for piece in await handle.deltas("r1")] == ["text", "end"]
    assert (await actor.status())["running"] == 0
    await actor.close()


async def test_an_agent_that_gives_up_stops_the_request_but_not_for_others() -> None:
    model = Controlled()
    handle = ModelsHandle(LocalRef(ModelActor(providers={"test": lambda: model}, seed=1)))
    alone, one, other = (
        asyncio.create_task(handle.answer(request(user("?"), request_id=name))) for name in ("alone", "both", "both")
    )
    await until(lambda: model.now == 2)
    one.cancel()
    alone.cancel()
    await until(lambda: model.now == 1)
    assert alone.cancelled()
    assert one.cancelled()
    model.let_go.set()
    assert (await other).text == "late"


async def test_a_request_can_be_stopped_by_its_id() -> None:
    model = Controlled()
    handle = ModelsHandle(LocalRef(ModelActor(providers={"test": lambda: model}, seed=1)))
    asked = asyncio.create_task(handle.answer(request(user("?"))))
    await model.started.wait()
    assert await handle.cancel("r1")
    with pytest.raises(RunCancelled):
        await asked
    assert not await handle.cancel("r1")


async def test_gateways_that_share_a_key_stay_within_its_limit_together() -> None:
    model = Scripted(lambda _: "yes")
    settings = GatewaySettings(providers={"test": ProviderSettings(kind="offline", requests_per_minute=2)})
    first = ModelActor(settings, providers={"test": lambda: model}, seed=0)
    others = [ModelActor(settings, providers={"test": lambda: model}, seed=n, first=LocalRef(first)) for n in (1, 2)]
    answers = await asyncio.gather(
        *(
            gateway.answer(request(user("?"), request_id=f"{n}", timeout_s=10.0))
            for gateway in (first, *others)
            for n in range(3)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, ModelAnswer) for answer in answers) == 2
    assert sum(isinstance(answer, RateLimited) for answer in answers) == 7


async def test_a_lease_whose_answer_is_lost_counts_as_used() -> None:
    settings = GatewaySettings(providers={"test": ProviderSettings(kind="offline", tokens_per_minute=60_000)})
    first = LocalRef(ModelActor(settings, providers={}, seed=0), lose=["lease"])
    actor = ModelActor(settings, providers={"test": lambda: Scripted(["yes"])}, seed=1, first=first)
    assert (await actor.answer(request(user("?")))).text == "yes"


async def test_tokens_a_minute_are_settled_by_what_was_really_used() -> None:
    used = ModelAnswer(text="yes", usage=Usage(input_tokens=900, output_tokens=100, requests=1))
    gateway = gateway_of(Scripted([used, used]), tokens_per_minute=1_000)
    await gateway.answer(request(user("?"), request_id="1"))
    with pytest.raises(RateLimited):
        await gateway.answer(request(user("word " * 400), request_id="2", timeout_s=5.0))
