"""Simulated processes: each holds actors, can be killed at any await, paused, and run on as a zombie."""

from __future__ import annotations

import asyncio
import pickle
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from repertory.errors import OutcomeUnknown, RepertoryError

from .clock import Lane, VirtualLoop
from .network import Network, SimRef
from .trace import Trace, Violation

#: makes the actors of a process, by name; runs inside the process
Build = Callable[["Process"], Awaitable[Mapping[str, Any]]]


class Process:
    """One operating-system process: its memory is gone when it dies, its tasks stop wherever they stand."""

    def __init__(self, cluster: Cluster, name: str, build: Build) -> None:
        self.cluster = cluster
        self.name = name
        self.lane = Lane(name)
        self.actors: dict[str, Any] = {}
        self.started: asyncio.Task[None] = cluster.loop.spawn(self.lane, self._start(build), f"{name} starts")

    @property
    def process(self) -> Process:
        """Itself: a place where calls can go (see `Service.process`)."""
        return self

    @property
    def alive(self) -> bool:
        """Whether it runs (or is paused)."""
        return self.lane.state != "dead"

    async def _start(self, build: Build) -> None:
        try:
            self.actors.update(await build(self))
        except (RepertoryError, OSError) as error:
            self.cluster.trace.note(self.name, "could not start: %s", error)
            self.cluster.kill(self, "could not start")
        except Exception as error:
            self.cluster.report(self.name, "its start", error)

    def serve(self, actor: str, method: str, payload: bytes, answer: Callable[[bool, Any], None]) -> None:
        """Carry out a call that has arrived."""
        self.cluster.loop.spawn(self.lane, self._serve(actor, method, payload, answer), f"{self.name}.{method}")

    async def _serve(self, actor: str, method: str, payload: bytes, answer: Callable[[bool, Any], None]) -> None:
        await asyncio.shield(self.started)
        args, kwargs = pickle.loads(payload)
        try:
            value = await getattr(self.actors[actor], method)(*args, **kwargs)
        except RepertoryError as error:
            answer(False, error)
        except asyncio.CancelledError:
            answer(False, OutcomeUnknown(f"{method} was cancelled"))
        except Exception as error:
            self.cluster.report(self.name, f"{actor}.{method}", error)
            answer(False, OutcomeUnknown(f"{method} raised {error!r}"))
        else:
            answer(True, value)


class Service:
    """A named actor that is started again when it died, as Ray does with `max_restarts`."""

    def __init__(self, cluster: Cluster, name: str, build: Build, *,
                 restart_s: tuple[float, float] = (0.05, 2.0)) -> None:
        """`restart_s`: seconds (least, most) until it is started again."""
        self.cluster = cluster
        self.name = name
        self.process: Process | None = None
        self._build = build
        self._restart_s = restart_s
        self._incarnation = 0
        self.stopped = False
        self.start()

    def start(self) -> None:
        """A new incarnation, unless one lives."""
        if self.stopped or (self.process is not None and self.process.alive):
            return
        self._incarnation += 1
        self.process = self.cluster.process(f"{self.name}#{self._incarnation}", self._build)
        self.cluster.trace.note(self.process.name, "starts")

    def replace(self) -> Process | None:
        """Start another incarnation although the present one lives: it was only thought to be dead. The old one."""
        old, self.process = self.process, None
        self.start()
        return old

    def died(self) -> None:
        """Come back after a while."""
        delay = self.cluster.rng.uniform(*self._restart_s)
        self.cluster.loop.call_later(delay, self.start, context=self.cluster.outside)


class Cluster:
    """All processes of a world, and the ways in which they suffer."""

    def __init__(self, loop: VirtualLoop, network: Network, trace: Trace, rng: Any, outside: Any) -> None:
        self.loop = loop
        self.network = network
        self.trace = trace
        self.rng = rng
        self.outside = outside
        self.processes: dict[str, Process] = {}
        self.services: dict[str, Service] = {}
        #: told of internal errors: a call raised something that is no RepertoryError
        self.on_bug: Callable[[Violation], None] = lambda violation: None

    def process(self, name: str, build: Build) -> Process:
        """Start a process."""
        process = self.processes[name] = Process(self, name, build)
        return process

    def service(self, name: str, build: Build, **options: Any) -> SimRef:
        """Start a named, self-healing service whose actor has the same name; the reference to it."""
        service = self.services[name] = Service(self, name, build, **options)
        return self.network.ref(service, name)

    def kill(self, process: Process, why: str) -> None:
        """SIGKILL: not one more instruction."""
        if not process.alive:
            return
        self.trace.note(process.name, "is killed: %s", why)
        self.loop.bury(process.lane)
        self.processes.pop(process.name, None)
        self.network.process_died(process)
        for service in self.services.values():
            if service.process is process:
                service.died()

    def kill_soon(self, process: Process, steps: int, why: str) -> None:
        """SIGKILL before its `steps`-th next callback: at some await in the middle of something."""
        process.lane.fuse = steps
        process.lane.blow = lambda: self.kill(process, why)

    def pause(self, process: Process, for_s: float) -> None:
        """SIGSTOP, and SIGCONT after `for_s` seconds: it comes back believing that no time has passed."""
        if process.lane.state == "alive":
            process.lane.state = "paused"
            self.loop.call_later(for_s, self.loop.resume, process.lane, context=self.outside)

    def report(self, who: str, where: str, error: BaseException) -> None:
        """Something raised what it must not raise."""
        frames = traceback.extract_tb(error.__traceback__)
        places = " < ".join(f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno}" for f in reversed(frames[-6:]))
        violation = Violation("bug", f"{who}: {where} raised {error!r} at {places}")
        self.trace.note(who, "%s", violation.what)
        self.on_bug(violation)
