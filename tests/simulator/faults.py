"""What goes wrong at a given time: deaths, pauses, partitions, losses of power, full disks."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from .disk import PLENTY_BYTES
from .plan import Fault
from .processes import Process

if TYPE_CHECKING:
    from .world import World

#: seconds that a service which was replaced goes on before its node ends it
ZOMBIE_S = 6.0


class Misfortune:
    """Carries out a plan's faults.

    kill, kill soon (at some await), pause, cut (from another service): a service. zombie: the directory or the
    coordinator is replaced though it lives. power, disk crash (at the n-th operation), disk full: the store's machine.
    agent kill, agent kill soon, agent pause, agent cut, agent dies at a commit: a pool process.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        #: commits of agents until the one whose author dies before it hears of it
        self._fatal: int | None = None
        world.network.on_answer = self._answered

    def strike(self, fault: Fault) -> None:
        """Let it happen. A fault whose victim is dead already strikes nobody."""
        world, cluster = self._world, self._world.cluster
        kind = fault.kind.removeprefix("agent ")
        if kind == "power":
            world.trace.fault("loss of power", "store", "the machine of the store goes dark")
            world.storage.lose_power("a fault")
        elif kind == "disk crash":
            world.disk.crash.countdown = fault.pick
        elif kind == "dies at a commit":
            self._fatal = 1 + fault.pick % 12
        elif kind == "zombie":
            self._replace(random.Random(fault.pick).choice(["directory", "coordinator"]), fault.for_s)
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

    def heal(self) -> None:
        """Nothing that was to happen happens any more."""
        self._fatal = None

    def _replace(self, name: str, for_s: float) -> None:
        """A service is thought to be dead and is replaced, while it only stands still, and goes on after a while."""
        world = self._world
        old = world.cluster.services[name].replace()
        if old is not None and old.alive:
            world.trace.fault("zombie service", old.name, "stands still, is replaced, and goes on after %.1f s", for_s)
            world.cluster.pause(old, for_s)
            world.loop.call_later(for_s + ZOMBIE_S, world.cluster.kill, old, "its node notices", context=world.outside)

    def _answered(self, caller: str, method: str) -> None:
        if self._fatal is None or method != "commit" or not caller.startswith("pool"):
            return
        self._fatal -= 1
        if self._fatal <= 0 and (process := self._world.cluster.processes.get(caller)) is not None:
            self._fatal = None
            self._world.trace.fault("death at a commit", caller, "dies before it hears of its commit")
            self._world.cluster.kill(process, "a fault")

    def _victim(self, fault: Fault) -> Process | None:
        if fault.kind.startswith("agent"):
            pool = [process for name, process in self._world.cluster.processes.items() if name.startswith("pool")]
            return pool[fault.pick % len(pool)] if pool else None
        process = self._world.cluster.services[fault.target].process
        return process if process is not None and process.alive else None

    def _make_room(self) -> None:
        self._world.disk.capacity_bytes = PLENTY_BYTES
