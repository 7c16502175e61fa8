"""What goes wrong at a given time: deaths, pauses, partitions, losses of power, full disks."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from .disk import PLENTY_BYTES
from .plan import Fault
from .processes import Process

if TYPE_CHECKING:
    from .world import World


class Misfortune:
    """Carries out a plan's faults."""

    def __init__(self, world: World) -> None:
        self._world = world

    def strike(self, fault: Fault) -> None:
        """Let it happen. A fault whose victim is dead already strikes nobody."""
        world, cluster = self._world, self._world.cluster
        kind = fault.kind.removeprefix("agent ")
        if kind == "power":
            world.trace.fault("loss of power", "store", "the machine of the store goes dark")
            world.storage.lose_power("a fault")
        elif kind == "disk crash":
            world.disk.crash.countdown = fault.pick
        elif kind == "disk full":
            world.trace.fault("disk filled", "disk", "somebody fills the disk for %.1f s", fault.for_s)
            world.disk.capacity_bytes = world.disk.used_bytes() + fault.pick * 100
            world.loop.call_later(fault.for_s, self._make_room, context=world.outside)
        elif (victim := self._victim(fault)) is not None:
            world.trace.fault(fault.kind, victim.name, "%s", kind)
            if kind == "kill":
                cluster.kill(victim, "a fault")
            elif kind == "kill soon":
                cluster.kill_soon(victim, fault.pick, "a fault")
            elif kind == "pause":
                cluster.pause(victim, fault.for_s)
            elif kind == "cut":
                other = random.Random(fault.pick).choice(["directory", "store", "coordinator", "models"])
                world.network.cut(victim.name.partition("#")[0], other, world.loop.time() + fault.for_s)

    def _victim(self, fault: Fault) -> Process | None:
        if fault.kind.startswith("agent"):
            pool = [process for name, process in self._world.cluster.processes.items() if name.startswith("pool")]
            return pool[fault.pick % len(pool)] if pool else None
        process = self._world.cluster.services[fault.target].process
        return process if process is not None and process.alive else None

    def _make_room(self) -> None:
        self._world.disk.capacity_bytes = PLENTY_BYTES
