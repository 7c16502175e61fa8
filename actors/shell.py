"""Ray: one class that carries any of our actors, and the reference that calls go through.

Actors are plain classes. What makes one (a `Recipe`) names a function by its module, so that a process imports what
its own actor needs and nothing else. Errors of ours travel as values.

An async Ray actor runs each concurrency group on a thread and event loop of its own, and one that has a thousand calls
under way lets the next ones hang without an error. So all work is done on the one main loop, the groups only admit
calls: very many ordinary ones, and those that control the actor beside them.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import pickle
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from repertory.actors.watchdog import exit_with_parent
from repertory.errors import OutcomeUnknown, RepertoryError

#: calls that may be under way at one actor; far above an inbox's bound, so that a refusal comes before a hanging call
ORDINARY_CALLS = 20_000
CONTROL_CALLS = 1_000
#: what controls an actor; must get through when the ordinary calls are at their limit
CONTROL = frozenset({"adopt", "release", "status", "linger", "moved", "wake", "stop", "vitals"})
#: names of environment variables that end so hold keys, which only the gateway's process may know
KEY_ENDINGS = ("_API_KEY", "_AUTH_TOKEN", "_SECRET_KEY")

#: the protocol of what travels between processes; nothing of it is ever stored
PICKLE = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a process makes its actor: `await module.function(**arguments)`."""

    module: str
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)
    #: environment variables that this process gets on top, with their values (keys of providers)
    secrets: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """Where and how an actor is started."""

    #: unique in the namespace
    name: str
    namespace: str
    #: Ray starts it again when its process dies
    restarts: bool = False
    #: the Ray node to run on; empty: any, and with `spread` not the same one each time
    node_id: str = ""
    spread: bool = False
    #: `host:port` of a GCS that nothing starts again, so that the process ends with it; empty: it may come back
    gcs: str = ""


@dataclass(frozen=True, slots=True)
class _Raised:
    error: RepertoryError


class Shell:
    """The actor class that Ray sees."""

    def __init__(self, recipe: Recipe, gcs: str) -> None:
        exit_with_parent(gcs)
        for name in list(filter(is_secret, os.environ)):
            del os.environ[name]
        os.environ.update(recipe.secrets)
        self._loop = asyncio.get_running_loop()
        self._recipe = recipe
        self._making = self._loop.create_task(self._make())

    async def call(self, packed: bytes) -> bytes:
        """Carry out a call, a pickled (method, args, kwargs); what comes of it, pickled.

        One bytes object each way: Ray takes it as it is, while it puts each argument through a pickler of its own
        (measured: 0.3 ms of a call's 1.8, and a fifth of the processor time of both sides).
        """
        method, args, kwargs = pickle.loads(packed)
        answer = await self.perform(method, args, kwargs)
        try:
            return pickle.dumps(answer, PICKLE)
        except Exception as error:
            _log.exception("the answer of %s cannot travel", method)
            return pickle.dumps(_Raised(RepertoryError(f"the answer of {method} cannot travel: {error!r}")), PICKLE)

    async def perform(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Carry out a call; an error of ours is returned."""
        try:
            carrier = self if method == "vitals" else await self._actor()
            return await getattr(carrier, method)(*args, **kwargs)
        except RepertoryError as error:
            error.__cause__ = error.__context__ = None
            return _Raised(error.with_traceback(None))
        except Exception as error:
            _log.exception("%s failed", method)
            return _Raised(RepertoryError(f"{method} failed: {error!r}"))

    async def vitals(self) -> dict[str, Any]:
        """Of the process itself, whatever its actor: pid, Ray node, modules it has loaded, names in its environment."""
        return {"pid": os.getpid(), "node": this_node(), "modules": sorted(sys.modules),
                "environment": sorted(os.environ)}

    @ray.method(concurrency_group="control")
    async def control(self, packed: bytes) -> bytes:
        """The same as `call`, for calls that must always get in."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.call(packed), self._loop))

    async def _actor(self) -> Any:
        """The actor. One that could not be made is tried again by the next call."""
        if self._making.done() and (self._making.cancelled() or self._making.exception() is not None):
            self._making = self._loop.create_task(self._make())
        return await asyncio.shield(self._making)

    async def _make(self) -> Any:
        recipe = self._recipe
        make: Callable[..., Awaitable[object]] = getattr(importlib.import_module(recipe.module), recipe.function)
        return await make(**recipe.arguments)


class RayRef:
    """Reaches an actor by its Ray handle, or by its name (then also the one that takes its place).

    Satisfies `handles.Ref`.
    """

    def __init__(self, name: str, namespace: str, handle: Any = None) -> None:
        self.key = name
        self._namespace = namespace
        self._handle = handle

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RayRef) and (self.key, self._namespace) == (other.key, other._namespace)

    def __hash__(self) -> int:
        return hash((self.key, self._namespace))

    def on(self, node_id: str) -> RayRef:
        """The actor that does the same on another node."""
        return RayRef(f"{self.key}@{node_id}", self._namespace)

    def exists(self) -> bool:
        """Whether there is such an actor; it may still be coming up."""
        try:
            return self._found() is not None
        except OutcomeUnknown:
            return False

    async def call(self, method: str, /, *args: Any, timeout_s: float, **kwargs: Any) -> Any:
        """See `handles.Ref.call`."""
        try:
            async with asyncio.timeout(timeout_s):
                answer = pickle.loads(await self._send(method, args, kwargs))
        except TimeoutError:
            raise OutcomeUnknown(f"{self.key} did not answer {method} within {timeout_s:g} s") from None
        except RayError as error:
            self._lost()
            raise OutcomeUnknown(f"{self.key} is gone: {_first_line(error)}") from None
        if isinstance(answer, _Raised):
            raise answer.error
        return answer

    def tell(self, method: str, /, *args: Any, **kwargs: Any) -> None:
        """See `handles.Ref.tell`."""
        try:
            self._send(method, args, kwargs)
        except (RayError, OutcomeUnknown):
            self._lost()

    def kill(self) -> None:
        """End the actor for good, whatever it does."""
        try:
            ray.kill(self._found(), no_restart=True)
        except (RayError, OutcomeUnknown):
            self._lost()

    def _send(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        handle = self._found()
        door = handle.control if method in CONTROL else handle.call
        return door.remote(pickle.dumps((method, args, kwargs), PICKLE))

    def _found(self) -> Any:
        if not ray.is_initialized():
            raise OutcomeUnknown(f"{self.key} cannot be reached: this program has left the Ray cluster")
        if self._handle is None:
            try:
                self._handle = ray.get_actor(self.key, namespace=self._namespace)
            except ValueError:
                raise OutcomeUnknown(f"there is no actor {self.key} (yet)") from None
        return self._handle

    def _lost(self) -> None:
        """Look it up again next time: another one may have its name by then."""
        self._handle = None


def is_secret(name: str) -> bool:
    """Whether the environment variable of that name holds a key (Ray's own token is needed everywhere)."""
    return name.endswith(KEY_ENDINGS) and not name.startswith("RAY_")


def launch(recipe: Recipe, how: Launch) -> RayRef:
    """Start an actor, without waiting until it is there."""
    groups = {"control": CONTROL_CALLS}
    make: Any = ray.remote(num_cpus=0, concurrency_groups=groups)  # type: ignore[call-overload]  # Ray types no groups
    options: dict[str, Any] = {
        "name": how.name, "namespace": how.namespace, "lifetime": "detached", "max_concurrency": ORDINARY_CALLS,
        "max_restarts": -1 if how.restarts else 0, "max_task_retries": 0,
    }
    if how.node_id:
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(how.node_id, soft=False)
    elif how.spread:
        options["scheduling_strategy"] = "SPREAD"
    handle = make(Shell).options(**options).remote(recipe, how.gcs)
    return RayRef(how.name, how.namespace, handle)


def named(namespace: str) -> list[RayRef]:
    """All actors of a namespace that live. Raises OutcomeUnknown when Ray does not answer."""
    try:
        actors = ray.util.list_named_actors(all_namespaces=True)
    except RayError as error:
        raise OutcomeUnknown(f"Ray does not say which actors there are: {_first_line(error)}") from None
    return [RayRef(one["name"], namespace) for one in actors if one["namespace"] == namespace]


def nodes() -> list[str]:
    """The ids of the cluster's nodes. Raises OutcomeUnknown when Ray does not answer."""
    try:
        return [node["NodeID"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    except RayError as error:
        raise OutcomeUnknown(f"Ray does not say which nodes there are: {_first_line(error)}") from None


def this_node() -> str:
    """The id of the node that this process runs on."""
    node_id: str = ray.get_runtime_context().get_node_id()
    return node_id


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
