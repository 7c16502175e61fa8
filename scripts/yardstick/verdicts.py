"""The lines of `bench_core`: what was seen, against what is to be reached."""

from __future__ import annotations

import os

from yardstick.duel import AGENTS, EDGE, Seen
from yardstick.report import Line, Target
from yardstick.timing import ratios, spread

#: messages a second of AGENTS agents at a model latency of 200 ms, if all else took no time
IDEAL_PER_S = AGENTS / 0.2


def at_most(limit: float, of: str) -> Target:
    """A ratio that is not to be exceeded."""
    return Target(limit=limit, side="at most", of=of)


def at_least(limit: float, of: str) -> Target:
    """A ratio that is to be reached."""
    return Target(limit=limit, side="at least", of=of)


def duel_lines(seen: Seen, long: int) -> list[Line]:
    """One message at a time, and many agents at once; `long` messages were sent to each."""
    lines = [
        Line(name="floor without HTTP: one message at a time, p50", unit="ms", value=spread(seen["floor p50"])),
        Line(name="floor without HTTP: one message at a time, p99", unit="ms", value=spread(seen["floor p99"])),
        _row("one message at a time, p50", "ms", seen["core p50"], seen["floor p50"], at_most(1.5, "floor")),
        Line(name="one message at a time, p99", unit="ms", value=spread(seen["core p99"]),
             ratio=ratios(seen["core p99"], seen["floor p99"]), note="× floor's p99"),
        _row("the same to a memgpt agent (memory, 6 tools), p50", "ms", seen["memgpt p50"], seen["floor p50"],
             at_most(1.5, "floor")),
    ]
    ten = "10 messages at once to 10 agents"
    lines += [
        Line(name=f"floor without HTTP: {ten}", unit="ms", value=spread(seen["floor ten"]),
             ratio=ratios(seen["floor ten"], seen["floor p50"]), note="× floor's one message"),
        Line(name=f"floor without HTTP, appends shared: {ten}", unit="ms", value=spread(seen["shared ten"]),
             ratio=ratios(seen["shared ten"], seen["floor p50"]), note="× floor's one message"),
        Line(name=ten, unit="ms", value=spread(seen["core ten"]),
             ratio=ratios(seen["core ten"], seen["core p50"]), note="× one message"),
    ]
    if seen["peer early p50"]:
        late = f"messages {long - EDGE + 1}-{long}"
        for stretch, limit, which in (("early", 1.2, f"messages 1-{EDGE}"), ("late", 0.3, late)):
            lines += [
                Line(name=f"LangGraph: one at a time, p50, {which}", unit="ms",
                     value=spread(seen[f"peer {stretch} p50"])),
                _row(f"one at a time, p50, {which}", "ms", seen[f"core {stretch} p50"],
                     seen[f"peer {stretch} p50"], at_most(limit, "LangGraph")),
            ]
    for latency in (0, 200):
        lines += _crowd_lines(seen, latency)
    return lines


def _crowd_lines(seen: Seen, latency: int) -> list[Line]:
    what = f"{AGENTS} at once, model {latency} ms"
    floor, shared, core = (seen[f"{key} crowd {latency}"] for key in ("floor", "shared", "core"))
    unit = "messages/s"
    lines = [Line(name=f"floor without HTTP: {what}", unit=unit, value=spread(floor)),
             Line(name=f"floor without HTTP, appends shared: {what}", unit=unit, value=spread(shared))]
    if seen[f"peer crowd {latency}"]:
        lines.append(Line(name=f"LangGraph: {what}", unit=unit, value=spread(seen[f"peer crowd {latency}"])))
    if latency:
        allowed = [min(IDEAL_PER_S, value) for value in floor]
        lines.append(_row(what, unit, core, allowed, at_least(0.85, "min(ideal, floor)")))
    else:
        lines.append(_row(what, unit, core, floor, at_least(0.7, "floor")))
        lines.append(Line(name=f"{what} (the same)", unit=unit, value=spread(core), ratio=ratios(core, shared),
                          note="× floor, appends shared"))
    return lines


def errand_lines(seen: Seen) -> list[Line]:
    """Receipts, creation, activation, broadcasts, appends, memory."""
    message = seen["message"]
    lines = [
        Line(name="async receipts", unit="receipts/s", value=spread(seen["receipts"])),
        _row("create an agent, p50", "ms", seen["create"], message, at_most(0.5, "one message")),
        Line(name="start of a bare Ray actor, p50", unit="ms", value=spread(seen["actor start"])),
        _row("activate a stored agent from the pool, p50", "ms", seen["activate"], seen["actor start"],
             at_most(0.05, "an actor's start")),
        Line(name="activate a stored agent cold, p50", unit="ms",
             value=spread([a + b for a, b in zip(seen["activate"], seen["actor start"], strict=True)]),
             note="pool empty: both"),
        _row("broadcast to 10 live agents", "ms", seen["broadcast 10"], message, at_most(3, "one message")),
    ]
    cores = os.cpu_count() or 1
    least = [10 * each / cores for each in seen["processor 10"]]
    lines += [
        Line(name="processor time of one of these ten messages, all processes", unit="ms",
             value=spread(seen["processor 10"])),
        Line(name=f"ten times that on {cores} cores: what the broadcast takes at least", unit="ms", value=spread(least),
             ratio=ratios(least, message), note="× one message"),
    ]
    if seen["broadcast 50"]:
        lines.append(Line(name="broadcast to 50 live agents", unit="ms", value=spread(seen["broadcast 50"]),
                          ratio=ratios(seen["broadcast 50"], message), note="× one message"))
    lines += [
        Line(name="100 appends by 10 agents to one block", unit="appends/s", value=spread(seen["appends"])),
        Line(name="of these appends, lost", unit="", value=spread(seen["appends lost"])),
        Line(name="unique memory of a bare Ray actor", unit="MiB", value=spread(seen["memory bare"])),
        _row("unique memory of a live agent", "MiB", seen["memory agent"], seen["memory bare"],
             at_most(1.25, "a bare actor")),
    ]
    return lines


def growth_lines(seen: Seen, few: int, many: int) -> list[Line]:
    """What size costs."""
    disk = [value / 1024 for value in seen["disk large"]]
    return [
        Line(name=f"disk a message ({many:,} messages)", unit="KiB", value=spread(disk)),
        Line(name=f"read an agent's record after {few:,} messages, p50", unit="ms", value=spread(seen["load small"])),
        Line(name=f"the same after {many:,}", unit="ms", value=spread(seen["load large"]),
             ratio=ratios(seen["load large"], seen["load small"]), note=f"× after {few:,}"),
        _row(f"one message with {many:,} behind the agent, p50", "ms", seen["old large"], seen["old small"],
             at_most(1.3, f"with {few:,}")),
        _row(f"one message with {many:,} agents stored, p50", "ms", seen["any large"], seen["any small"],
             at_most(1.3, f"with {few:,}")),
    ]


def _row(name: str, unit: str, ours: list[float], theirs: list[float], target: Target) -> Line:
    return Line(name=name, unit=unit, value=spread(ours), ratio=ratios(ours, theirs), target=target)
