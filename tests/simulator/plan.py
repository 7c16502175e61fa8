"""What a seed means: the world's shape, what its people do and when, and what goes wrong.

A plan is plain data, so that a failing one can be made smaller: steps and faults are left out one by one (`shrink`).
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass, field

from .disk import Wear
from .models import Temper
from .network import Weather

#: seconds (virtual) in which people act and things go wrong; after that everything heals
BUSY_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """Something that one of the people does."""

    number: int
    #: loop time
    at: float
    person: int
    #: ask, post, burst, cast, cancel, append, substitute, rewrite, read, recreate, look
    verb: str
    #: which agent, conversation, block: taken modulo how many there are
    agent: int = 0
    conversation: str = "default"
    block: int = 0
    #: the seed of what the message says
    salt: int = 0
    #: whether it is sent again under the same key until its fate is known; without a key it is sent once
    keyed: bool = True
    #: seconds; None: the agent's own
    deadline_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Something that goes wrong once, at a time."""

    number: int
    at: float
    #: see `faults.Misfortune`; those that begin with `agent` strike a pool process, the others a service or the disk
    kind: str
    #: which service or process
    target: str = ""
    #: chooses among processes; counts steps or moments
    pick: int = 0
    for_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All that a seed decides beforehand."""

    seed: int
    agents: int
    blocks: int
    people: int
    live_cap: int
    spare: int
    window: int
    agent_types: tuple[str, ...]
    durable: bool
    #: nothing at all goes wrong: then every run must come to its proper end
    calm: bool
    steps: tuple[Step, ...]
    faults: tuple[Fault, ...]
    weather: Weather = field(default_factory=Weather)
    wear: Wear = field(default_factory=Wear)
    temper: Temper = field(default_factory=Temper)

    def only(self, steps: tuple[int, ...], faults: tuple[int, ...], off: tuple[str, ...] = ()) -> Plan:
        """The same plan with these steps and faults only, and without the chances named in `off`."""
        return dataclasses.replace(
            self, steps=tuple(s for s in self.steps if s.number in steps),
            faults=tuple(f for f in self.faults if f.number in faults),
            weather=_without(self.weather, off), wear=_without(self.wear, off), temper=_without(self.temper, off),
        )

    def text(self, whole: Plan) -> str:
        """How this plan is got from `whole`, that of its seed: `seed/s1.4/f2/-weather.slow`; see `plan_from`."""
        steps = ".".join(str(step.number) for step in self.steps)
        faults = ".".join(str(fault.number) for fault in self.faults)
        off = "".join(f"-{chance}" for chance in whole.chances() if chance not in self.chances())
        return f"{self.seed}/s{steps}/f{faults}/{off}"

    def chances(self) -> tuple[str, ...]:
        """The chances that are not zero, by name: `weather.slow`, ….."""
        return tuple(
            f"{type(part).__name__.lower()}.{spec.name}" for part in (self.weather, self.wear, self.temper)
            for spec in dataclasses.fields(part) if not spec.name.endswith("_s") and getattr(part, spec.name)
        )


def _without(part, off):  # type: ignore[no-untyped-def]  # three dataclasses with the same shape
    prefix = type(part).__name__.lower()
    return dataclasses.replace(part, **{
        spec.name: 0.0 for spec in dataclasses.fields(part) if f"{prefix}.{spec.name}" in off
    })


#: how often people do what, in parts
_VERBS = {"ask": 10, "post": 6, "burst": 2, "cast": 1, "cancel": 2, "append": 3, "substitute": 1, "rewrite": 3,
          "read": 2, "recreate": 1}
_SERVICES = ("store", "directory", "coordinator", "models")


def plan_of(seed: int, *, durable: bool = True) -> Plan:
    """The plan of a seed."""
    rng = random.Random(f"{seed}/plan")
    calm = rng.random() < 0.15
    agents, people = rng.randint(2, 5), rng.randint(1, 3)
    steps = tuple(_step(rng, number, people) for number in range(rng.randint(6, 18)))
    wild = 0.0 if calm else rng.choice([0.0, 0.3, 1.0])
    faults = () if calm else tuple(_fault(rng, number) for number in range(rng.randint(0, 6)))
    return Plan(
        seed=seed, agents=agents, blocks=rng.randint(1, 2), people=people,
        live_cap=rng.choice([1, 1, 2, 3, 8]), spare=rng.choice([0, 1, 2]),
        window=rng.choice([3_600, 4_200, 32_000]),
        agent_types=tuple(rng.choice(["memgpt", "react", "letta_v1"]) for _ in range(agents)),
        durable=durable, calm=calm, steps=steps, faults=faults,
        weather=_weather(rng, wild), wear=_wear(rng, wild), temper=_temper(rng, wild),
    )


def plan_from(text: str) -> Plan:
    """The plan that `text` names: a seed, or what `Plan.text` gave."""
    seed, *parts = text.split("/")
    plan = plan_of(int(seed))
    if not parts:
        return plan
    steps, faults = (tuple(map(int, filter(None, part[1:].split(".")))) for part in parts[:2])
    return plan.only(steps, faults, tuple(filter(None, parts[2].split("-"))))


def _step(rng: random.Random, number: int, people: int) -> Step:
    return Step(
        number=number, at=round(rng.uniform(1.0, BUSY_S * 0.8), 3), person=rng.randrange(people),
        verb=rng.choices(list(_VERBS), weights=list(_VERBS.values()))[0], agent=rng.randrange(60),
        conversation=rng.choice(["default", "default", "default", "conv-side"]), block=rng.randrange(60),
        salt=rng.randrange(1 << 30), keyed=rng.random() < 0.8,
        deadline_s=rng.choice([None, None, None, 5.0, 20.0, 60.0]),
    )


def _fault(rng: random.Random, number: int) -> Fault:
    kind = rng.choice(["kill", "kill soon", "pause", "cut", "power", "disk crash", "disk full", "agent kill",
                       "zombie", "agent kill", "agent kill soon", "agent kill soon", "agent pause", "agent cut",
                       "agent dies at a commit", "agent dies at a commit"])
    return Fault(
        number=number, at=round(rng.uniform(0.5, BUSY_S * 0.9), 3), kind=kind, target=rng.choice(_SERVICES),
        pick=rng.randrange(1, 120), for_s=round(rng.choice([0.5, 3.0, 12.0]) * rng.uniform(0.5, 1.5), 3),
    )


def _some(rng: random.Random, wild: float, most: float) -> float:
    """A chance up to `most`, often none at all."""
    return round(most * wild * rng.random(), 5) if rng.random() < 0.6 else 0.0


def _weather(rng: random.Random, wild: float) -> Weather:
    return Weather(
        slow=_some(rng, wild, 0.1), lose_request=_some(rng, wild, 0.03), lose_answer=_some(rng, wild, 0.03),
        duplicate=_some(rng, wild, 0.1), late=_some(rng, wild, 0.01), lose_tell=_some(rng, wild, 0.3),
    )


def _wear(rng: random.Random, wild: float) -> Wear:
    return Wear(write_error=_some(rng, wild, 0.01), sync_error=_some(rng, wild, 0.01), slow=_some(rng, wild, 0.02))


def _temper(rng: random.Random, wild: float) -> Temper:
    return Temper(
        slow=_some(rng, wild, 0.1), hang=_some(rng, wild, 0.02), cut=_some(rng, wild, 0.1),
        rate_limit=_some(rng, wild, 0.1), empty=_some(rng, wild, 0.1), same_ids=_some(rng, wild, 0.5),
        twice=_some(rng, wild, 0.1), wrong=_some(rng, wild, 0.1), endless=_some(rng, wild, 0.03),
    )
