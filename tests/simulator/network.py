"""The simulated network between actors: `SimRef` carries the calls of `actors.handles.Ref`.

By the seed a call is delayed, overtaken, carried out twice, lost on its way or on the way back, or answered after the
caller gave up. What travels is pickled, so that nothing is shared. A call to a dead process fails soon, as it does
with Ray; one to a paused process just hangs.
"""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repertory.errors import OutcomeUnknown

from .clock import LANE, VirtualLoop
from .trace import Trace

if TYPE_CHECKING:
    from .processes import Process, Service

#: what the network itself does belongs to no process: it goes on when the sender dies
_OUTSIDE = contextvars.Context()
#: the network of the world that runs now; references that travel are looked up in it
CURRENT: list[Network] = []
#: seconds one way without faults; real calls between Ray actors take 0.2 to 1 ms
USUAL_DELAY_S = (0.0002, 0.001)
#: how soon a caller learns that the process at the other end died
DEATH_NOTICE_S = (0.001, 0.2)


@dataclass(kw_only=True)
class Weather:
    """How likely each fault is, for each call."""

    slow: float = 0.0
    #: seconds that a slow message takes at most
    slow_most_s: float = 3.0
    lose_request: float = 0.0
    lose_answer: float = 0.0
    duplicate: float = 0.0
    #: answered after the caller gave up
    late: float = 0.0
    lose_tell: float = 0.0


@dataclass
class _Call:
    """A call that has no answer yet."""

    caller: Any
    target: Process | Service
    actor: str
    method: str
    payload: bytes
    answered: Callable[[bool, Any], None]
    tell: bool = False
    pending: bool = True
    #: the process that has it now
    at: Process | None = None


class Network:
    """Carries all calls of one simulated world."""

    def __init__(self, loop: VirtualLoop, rng: random.Random, weather: Weather, trace: Trace) -> None:
        self.loop = loop
        self.weather = weather
        self.trace = trace
        self._rng = rng
        self._calls: dict[int, _Call] = {}
        self._serial = 0
        #: pairs of process names that cannot hear each other now
        self._cuts: dict[tuple[str, str], float] = {}
        self.known: dict[str, SimRef] = {}
        #: told of each answer before it is sent: (caller's name, method)
        self.on_answer: Callable[[str, str], None] = lambda caller, method: None
        CURRENT[:] = [self]

    def ref(self, place: Process | Service, actor: str) -> SimRef:
        """A reference to `actor` of this very process, or of whichever process offers the service at the time."""
        address = f"{place.name}/{actor}"
        if address not in self.known:
            self.known[address] = SimRef(self, place, actor, address)
        return self.known[address]

    def cut(self, one: str, other: str, until: float) -> None:
        """The two processes cannot reach each other before `until` (loop time); others can reach both."""
        self._cuts[(one, other)] = self._cuts[(other, one)] = until

    def mend(self) -> None:
        """Everybody reaches everybody again."""
        self._cuts.clear()

    def post(self, call: _Call) -> int:
        """Send a call on its way; its number."""
        self._serial += 1
        number = self._serial
        weather, rng = self.weather, self._rng
        if not call.tell:
            self._calls[number] = call
        route = f"{call.actor}.{call.method}"
        if self._is_cut(call):
            self.trace.fault("partition", route, "the request does not get through")
            return number
        lost = weather.lose_tell if call.tell else weather.lose_request
        if lost and rng.random() < lost:
            self.trace.fault("tell lost" if call.tell else "request lost", route, "the request is lost")
            return number
        self.loop.call_later(self._delay(route), self._arrive, number, call, context=_OUTSIDE)
        if weather.duplicate and rng.random() < weather.duplicate:
            self.trace.fault("duplicate", route, "the request is carried out twice")
            self.loop.call_later(self._delay(route), self._arrive, number, call, context=_OUTSIDE)
        return number

    def forget(self, number: int) -> None:
        """The caller gave up."""
        call = self._calls.pop(number, None)
        if call is not None:
            call.pending = False

    def process_died(self, process: Process) -> None:
        """Everyone who waits for an answer from `process` learns of its death, soon."""
        for number, call in list(self._calls.items()):
            if call.at is process:
                self._fail(number, call, "died")

    def _arrive(self, number: int, call: _Call) -> None:
        process = call.target.process
        if process is None or process.lane.state == "dead":
            self._fail(number, call, "is dead")
            return
        call.at = process
        process.serve(call.actor, call.method, call.payload, lambda ok, value: self._answer(number, call, ok, value))

    def _answer(self, number: int, call: _Call, ok: bool, value: Any) -> None:
        if call.tell or not call.pending:
            return
        self.on_answer(call.caller.name if call.caller else "", call.method)
        weather, rng, route = self.weather, self._rng, f"{call.actor}.{call.method}"
        if self._is_cut(call):
            self.trace.fault("partition", route, "the answer does not get through")
            return
        if weather.lose_answer and rng.random() < weather.lose_answer:
            self.trace.fault("answer lost", route, "the answer is lost")
            return
        delay = self._delay(route)
        if weather.late and rng.random() < weather.late:
            self.trace.fault("answer late", route, "the answer comes after the caller gave up")
            delay += 1_000.0
        payload = pickle.dumps(value)
        self.loop.call_later(delay, self._deliver, number, call, ok, payload, context=_OUTSIDE)

    def _deliver(self, number: int, call: _Call, ok: bool, payload: bytes) -> None:
        if call.pending and self._calls.pop(number, None) is not None:
            call.pending = False
            call.answered(ok, pickle.loads(payload))

    def _fail(self, number: int, call: _Call, why: str) -> None:
        if not call.tell and call.pending:
            error = pickle.dumps(OutcomeUnknown(f"{call.target.name} {why} before it answered {call.method}"))
            delay = self._rng.uniform(*DEATH_NOTICE_S)
            self.loop.call_later(delay, self._deliver, number, call, False, error, context=_OUTSIDE)

    def _is_cut(self, call: _Call) -> bool:
        if not self._cuts:
            return False
        until = self._cuts.get((_base(call.caller.name if call.caller else ""), _base(call.target.name)))
        return until is not None and until > self.loop.time()

    def _delay(self, route: str) -> float:
        weather, rng = self.weather, self._rng
        delay = rng.uniform(*USUAL_DELAY_S)
        if weather.slow and rng.random() < weather.slow:
            delay += weather.slow_most_s * rng.random() ** 3
            self.trace.fault("slow call", route, "a message takes %.3f s", delay)
        return delay


class SimRef:
    """Satisfies `actors.handles.Ref`. `key` names the process (its present incarnation) and the actor in it."""

    __slots__ = ("_actor", "_address", "_network", "_place")

    def __init__(self, network: Network, place: Process | Service, actor: str, address: str) -> None:
        self._network = network
        self._place = place
        self._actor = actor
        self._address = address

    @property
    def key(self) -> str:
        process = self._place.process
        return f"{process.name if process else self._place.name}/{self._actor}"

    async def call(self, method: str, /, *args: Any, timeout_s: float, **kwargs: Any) -> Any:
        """See `Ref.call`."""
        network = self._network
        future = network.loop.create_future()

        def answered(ok: bool, value: Any) -> None:
            if not future.done():
                future.set_result((ok, value))

        number = network.post(_Call(LANE.get(), self._place, self._actor, method,
                                    pickle.dumps((args, kwargs)), answered))
        try:
            async with asyncio.timeout(timeout_s):
                ok, value = await future
        except TimeoutError:
            raise OutcomeUnknown(f"{self.key} did not answer {method} within {timeout_s} s") from None
        finally:
            network.forget(number)
        if not ok:
            raise value
        return value

    def tell(self, method: str, /, *args: Any, **kwargs: Any) -> None:
        """See `Ref.tell`."""
        self._network.post(_Call(LANE.get(), self._place, self._actor, method, pickle.dumps((args, kwargs)),
                                 lambda ok, value: None, tell=True))

    def __reduce__(self) -> tuple[Any, ...]:
        # A reference that travels (a route in an answer) is looked up again: networks do not pickle.
        return _found, (self._address,)


def _base(name: str) -> str:
    """The name without the number of the incarnation."""
    return name.partition("#")[0]


def _found(key: str) -> SimRef:
    return CURRENT[0].known[key]
