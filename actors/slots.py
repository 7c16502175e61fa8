"""A place for a live agent, and the choices about it that need no more than what is known: plain data and functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from repertory.actors.handles import Ref, Route

#: seconds in which a route that was just handed out may be used before its agent is put away again
HANDED_OUT_S = 0.5
#: seconds an agent must live for its earlier deaths to be forgotten
HEALTHY_S = 60.0


@dataclass(slots=True)
class Slot:
    """One of the places for live agents, and who has it."""

    agent_id: str
    state: Literal["starting", "live", "leaving"] = "starting"
    process: Ref | None = None
    epoch: int = 0
    #: loop time at which it went live
    since: float = 0.0
    #: loop time at which a route to it was handed out last, to somebody who will call it
    handed_out: float = 0.0
    #: something came for it while it could not be told
    nudged: bool = False
    #: it was asked to leave after its turn
    asked: bool = False
    #: it has the place beyond the cap, to end runs whose deadlines have passed, and takes no message
    briefly: bool = False

    @property
    def route(self) -> Route:
        """The way to it, while it is live."""
        assert self.process is not None
        return Route(agent_id=self.agent_id, process=self.process, epoch=self.epoch)

    def has_lived_well(self, now: float) -> bool:
        """Whether it was live long enough for its earlier deaths to be forgotten."""
        return self.since > 0 and now - self.since > HEALTHY_S


def evictable(known: list[tuple[Slot, dict[str, Any]]], now: float) -> list[Slot]:
    """Of the live ones, those that may be put away, least recently used first.

    Idle ones that were not asked to leave already, and not those to which a route was handed out this very moment and
    that nobody has called yet. `known` holds what their processes say of them; `now` is loop time.
    """
    idle = [(status["last_used"], slot) for slot, status in known
            if status["idle"] and not slot.asked and (status["calls"] or now - slot.handed_out > HANDED_OUT_S)]
    return [slot for _, slot in sorted(idle, key=lambda pair: pair[0])]
