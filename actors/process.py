"""A pooled process: it lends itself to one agent after another.

A Ray actor process costs about 0.4 s and 60 MB, an identity milliseconds; so processes are kept and agents move in
and out. Each call names the agent and the activation that it is meant for, and a process that does not hold exactly
that answers `Moved`. When an agent leaves, nothing of it may stay: its calls are ended, its one root object is
dropped, and whether that is really gone is looked at; a process where it is not takes no other agent.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from repertory.errors import Fenced, Moved, RepertoryError

_log = logging.getLogger(__name__)

#: seconds an agent has to stop once it rests (its last commit may be under way)
STOP_S = 60.0


class Agent(Protocol):
    """One live agent, as its process sees it."""

    #: the names of the methods that `AgentProcess.call` may reach
    METHODS: ClassVar[frozenset[str]]

    @property
    def idle(self) -> bool:
        """Whether nothing is under way: no turn runs (a parked one does not) and none could begin."""

    @property
    def last_used(self) -> float:
        """When it last did something or was asked something, in seconds since 1970."""

    async def start(self, briefly: bool) -> int:
        """Claim the next epoch, load, and begin to work; the epoch. `briefly`: only to end runs that are late."""

    async def rest(self, within_s: float) -> bool:
        """Begin no further turn after the one that runs (or that is about to begin).

        Waits at most `within_s` seconds for that. True: no turn runs, and none will. False: it was too short, and
        the agent works on as before.
        """

    async def stop(self) -> None:
        """End every task. What is not committed is done again by the next activation."""


class AgentProcess:
    """Hosts at most one agent at a time."""

    def __init__(self, make_agent: Callable[[str], Agent], *, memory_bytes: Callable[[], int] = lambda: 0,
                 collect: Callable[[], object] | None = None) -> None:
        """`make_agent(agent_id)` makes an agent that has not started.

        `memory_bytes` measures this process; `collect` runs the garbage collector (None: many such processes share
        one interpreter, so that neither is worth while).
        """
        self._make_agent = make_agent
        self._memory_bytes = memory_bytes
        self._collect = collect
        self._agent: Agent | None = None
        self._agent_id = ""
        self._epoch = 0
        self._briefly = False
        self._calls: dict[asyncio.Task[Any], None] = {}
        self._called = 0
        self._adopting = asyncio.Lock()
        self._identities = 0
        self._spoiled = ""

    async def adopt(self, agent_id: str, briefly: bool = False) -> int:
        """Bring this agent to life here; its epoch. Raises what its start raised, Moved if the process is taken.

        `briefly`: it takes no message, and only ends its runs whose deadlines have passed.
        """
        async with self._adopting:
            if self._agent is not None and self._agent_id == agent_id:
                return self._epoch
            if self._agent is not None or self._spoiled:
                raise Moved(f"this process takes no agent: {self._spoiled or 'it holds ' + self._agent_id}")
            agent = self._make_agent(agent_id)
            self._identities += 1
            try:
                epoch = await agent.start(briefly)
            except RepertoryError as error:
                self._spoiled = f"{agent_id} could not start"
                await agent.stop()
                raise _bare(error) from None
            self._agent, self._agent_id, self._epoch, self._called = agent, agent_id, epoch, 0
            self._briefly = briefly
            return epoch

    async def release(self, agent_id: str, epoch: int, wait_s: float) -> bool:
        """Put the agent away, at the latest `wait_s` seconds from now; False if it is still busy then.

        Within that time no further turn begins, and the running one may end.
        """
        async with self._adopting:
            agent = self._agent
            if agent is None or not self._holds(agent_id, epoch):
                return True
            if not await agent.rest(wait_s):
                return False
            self._agent = None
            await self._put_away(agent)
            return True

    async def status(self) -> dict[str, Any]:
        """Whom it holds, and whether it may hold another.

        agent_id (None: nobody), epoch, briefly, idle, last_used, calls (from outside, since it came); identities,
        memory_bytes, spoiled (empty, or why this process takes no further agent).
        """
        agent = self._agent
        return {
            "agent_id": self._agent_id if agent is not None else None,
            "epoch": self._epoch if agent is not None else 0,
            "briefly": agent is not None and self._briefly,
            "idle": agent is None or agent.idle,
            "last_used": agent.last_used if agent is not None else 0.0,
            "calls": self._called,
            "identities": self._identities,
            "memory_bytes": self._memory_bytes(),
            "spoiled": self._spoiled,
        }

    async def call(self, agent_id: str, epoch: int, method: str, args: tuple[Any, ...],
                   kwargs: dict[str, Any]) -> Any:
        """Call a method of the agent. Raises Moved unless this process holds exactly that activation of it."""
        agent = self._agent
        if agent is None or not self._holds(agent_id, epoch):
            raise Moved(f"this process does not hold {agent_id} in epoch {epoch}", agent_id=agent_id, epoch=epoch)
        if method not in agent.METHODS:
            raise RepertoryError(f"agents have no method {method!r}; they have {', '.join(sorted(agent.METHODS))}")
        task = asyncio.get_running_loop().create_task(getattr(agent, method)(*args, **kwargs))
        del agent
        self._calls[task] = None
        self._called += method != "nudge"
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            self._calls.pop(task, None)
        error = self._error(task, agent_id, epoch)
        if error is None:
            return task.result()
        del task
        raise error

    async def linger(self, for_s: float) -> None:
        """Answer after `for_s` seconds; whoever waits for it notices at once when the process dies."""
        await asyncio.sleep(for_s)

    def _error(self, task: asyncio.Task[Any], agent_id: str, epoch: int) -> BaseException | None:
        """What a call raised, without the frames that it went through: they hold the agent."""
        if task.cancelled():
            return Moved(f"{agent_id} has left this process", agent_id=agent_id, epoch=epoch)
        error = task.exception()
        if error is None:
            return None
        if isinstance(error, Fenced | Moved):
            self._spoiled = f"{agent_id} was fenced off"
            error = Moved(error.message, agent_id=agent_id, epoch=epoch)
        elif not isinstance(error, RepertoryError):
            _log.error("a call of %s failed", agent_id, exc_info=error)
        return _bare(error)

    def _holds(self, agent_id: str, epoch: int) -> bool:
        return self._agent is not None and (self._agent_id, self._epoch) == (agent_id, epoch)

    async def _put_away(self, agent: Agent) -> None:
        agent_id, root = self._agent_id, weakref.ref(agent)
        self._agent_id, self._epoch = "", 0
        try:
            async with asyncio.timeout(STOP_S):
                await agent.stop()
        except TimeoutError:
            self._spoiled = f"{agent_id} did not stop within {STOP_S:g} s"
        del agent
        for call in list(self._calls):
            call.cancel()
        while self._calls:  # noqa: ASYNC110  # they end within a few steps of the loop
            await asyncio.sleep(0)
        living = [task.get_name() for task in asyncio.all_tasks() if agent_id in task.get_name()]
        if living:
            self._spoiled = f"tasks of {agent_id} still live: {', '.join(living)}"
        if self._collect is not None:
            asyncio.get_running_loop().call_soon(self._look_back, root, agent_id)

    def _look_back(self, root: weakref.ref[Agent], agent_id: str) -> None:
        """Once the frames that put the agent away are gone, nothing may hold it."""
        if self._collect is not None:
            self._collect()
        if root() is not None:
            self._spoiled = f"something still refers to {agent_id}"


def _bare(error: BaseException) -> BaseException:
    """The error without its traceback and its causes."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
