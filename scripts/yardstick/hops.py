"""The hops of one message, from the stamps that all processes left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from yardstick.timing import Spread, percentile, spread
from yardstick.way import WAY, Point


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
    #: the functions that run in it, as paths below `repertory`
    code: tuple[str, ...]
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
        found.append(Hop(name="the whole way", code=(), ms=_between(taken[0])))
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
    return [Hop(name=name, code=(), ms=_between(values)) for name, values in groups.items()]


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
