"""The hops of one message, from the stamps that all processes left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from yardstick.timing import Spread, percentile, spread


@dataclass(frozen=True, kw_only=True, slots=True)
class Stamp:
    """One call of a watched function, in seconds of the machine's clock."""

    process: int
    name: str
    detail: str
    begun: float
    ended: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Hop:
    """A piece of the way."""

    name: str
    #: the functions that run in it
    code: str
    ms: Spread


def read_stamps(folder: Path) -> list[Stamp]:
    """All stamps, in the order of their beginnings."""
    stamps = []
    for path in folder.glob("*.stamps"):
        for line in path.read_text().splitlines():
            name, detail, begun, ended = line.split("\t")
            stamps.append(Stamp(process=int(path.stem), name=name, detail=detail, begun=float(begun),
                                ended=float(ended)))
    return sorted(stamps, key=lambda stamp: stamp.begun)


def messages(stamps: list[Stamp]) -> Iterator[list[Stamp]]:
    """The stamps of one message after the other (they were sent one at a time)."""
    asks = [stamp for stamp in stamps if stamp.name == "AgentCaller.ask"]
    for ask in asks:
        yield [stamp for stamp in stamps if ask.begun <= stamp.begun and stamp.ended <= ask.ended]


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A place on the way where the clock was read."""

    function: str
    detail: str = ""
    #: which of the calls that fit, in order
    index: int = 0
    end: bool = False
    #: what lies between the point before and this one
    hop: str = ""
    code: str = ""


WAY = (
    Point(function="AgentCaller.ask"),
    Point(function="RayRef.call", detail="call", hop="the caller looks up its route",
          code="actors/callers.py AgentCaller.ask, _once"),
    Point(function="Shell.call", detail="call", hop="Ray carries the message to the agent's process",
          code="actors/shell.py RayRef.call → Shell.call"),
    Point(function="Agent.ask", hop="the process checks agent and epoch", code="actors/process.py AgentProcess.call"),
    Point(function="RayRef.call", detail="answer", hop="the agent takes the message, and compiles the request",
          code="actors/agent.py Agent.ask, actors/turns.py TurnRunner._ask, actors/prompting.py Prompter.request"),
    Point(function="Shell.call", detail="answer", hop="Ray carries the request to the gateway",
          code="actors/models.py ModelsHandle.answer → actors/shell.py Shell.call"),
    Point(function="OpenAIProvider.answer", hop="the gateway admits it", code="llm/gateway.py Gateway.answer, _try"),
    Point(function="AsyncClient.send", hop="the SDK builds its HTTP request", code="llm/openai.py, openai SDK"),
    Point(function="AsyncClient.send", end=True, hop="HTTP to the mock model and back", code="httpx, the mock model"),
    Point(function="OpenAIProvider.answer", end=True, hop="the SDK reads the answer", code="openai SDK, llm/openai.py"),
    Point(function="Shell.call", detail="answer", end=True, hop="the gateway settles its accounts",
          code="llm/gateway.py Gateway._try, _answer"),
    Point(function="RayRef.call", detail="answer", end=True, hop="Ray carries the answer to the agent",
          code="actors/shell.py Shell.call → RayRef.call"),
    Point(function="RayRef.call", detail="commit", index=-1, hop="the agent carries out the calls, makes its step row",
          code="actors/turns.py TurnRunner._execute, _keep_step"),
    Point(function="Shell.call", detail="commit", index=-1, hop="Ray carries the step to the store",
          code="actors/handles.py StoreHandle.commit → actors/shell.py Shell.call"),
    Point(function="Shell.call", detail="commit", index=-1, end=True, hop="the store checks, writes and syncs it",
          code="memory/durable.py DurableStore.commit, memory/index.py, memory/tail.py"),
    Point(function="RayRef.call", detail="commit", index=-1, end=True, hop="Ray carries the receipt to the agent",
          code="actors/shell.py Shell.call → RayRef.call"),
    Point(function="Agent.ask", end=True, hop="the agent folds the step into its state, ends the run",
          code="memory/fold.py fold, actors/agent.py Agent.over"),
    Point(function="Shell.call", detail="call", end=True, hop="the process lets the outcome go",
          code="actors/process.py AgentProcess.call"),
    Point(function="RayRef.call", detail="call", end=True, hop="Ray carries the outcome to the caller",
          code="actors/shell.py Shell.call → RayRef.call"),
    Point(function="AgentCaller.ask", end=True, hop="the caller hands it out", code="actors/callers.py"),
)


def hops(stamps: list[Stamp]) -> list[Hop]:
    """The pieces of the way, with their spread over the messages (5th percentile, median, 95th), then the whole."""
    taken: dict[int, list[float]] = defaultdict(list)
    for message in messages(stamps):
        times = [_time(message, point) for point in WAY]
        if any(at is None for at in times):
            continue
        for index in range(1, len(WAY)):
            before, at = times[index - 1], times[index]
            assert before is not None
            assert at is not None
            taken[index].append((at - before) * 1e3)
        first, last = times[0], times[-1]
        assert first is not None
        assert last is not None
        taken[0].append((last - first) * 1e3)
    found = [Hop(name=WAY[index].hop, code=WAY[index].code, ms=_between(taken[index]))
             for index in range(1, len(WAY)) if taken[index]]
    if taken[0]:
        found.append(Hop(name="the whole way", code="", ms=_between(taken[0])))
    return found


def inside(stamps: list[Stamp]) -> list[Hop]:
    """What runs beside or within the pieces: the commit of the message itself, each commit and each sync."""
    groups: dict[str, list[float]] = defaultdict(list)
    for message in messages(stamps):
        commits = [s for s in message if s.name == "RayRef.call" and s.detail == "commit"]
        if len(commits) > 1:
            groups["beside the model: the message itself is kept (agent → store → agent)"].append(_ms(commits[0]))
        for stamp in message:
            if stamp.name == "DurableStore.commit":
                groups["within the store: one commit"].append(_ms(stamp))
            elif stamp.name == "LocalDisk.sync":
                groups["within the store: one sync of the tail"].append(_ms(stamp))
            elif stamp.name == "Prompter.request":
                groups["within the agent: compiling the request"].append(_ms(stamp))
    return [Hop(name=name, code="", ms=_between(values)) for name, values in groups.items()]


def _ms(stamp: Stamp) -> float:
    return (stamp.ended - stamp.begun) * 1e3


def _between(values: list[float]) -> Spread:
    middle = spread(values).middle
    return Spread(low=percentile(values, 5), middle=middle, high=percentile(values, 95))


def _time(message: list[Stamp], point: Point) -> float | None:
    fitting = [stamp for stamp in message
               if stamp.name == point.function and point.detail in ("", stamp.detail)]
    if not fitting:
        return None
    stamp = fitting[point.index]
    return stamp.ended if point.end else stamp.begun
