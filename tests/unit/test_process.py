"""A pooled process: whom it holds, and that nothing of an agent stays behind."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, ClassVar

import pytest

from repertory.actors.local import LocalRef
from repertory.actors.process import AgentProcess
from repertory.errors import Moved, RepertoryError

SECRET = "the cat sleeps at noon"


class Keeper:
    """An agent that knows a secret and may keep it in bad ways."""

    METHODS = frozenset({"tell", "fail", "wait", "leak"})
    leaks: ClassVar[list[Any]] = []

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.secret = [SECRET] if agent_id == "agent-1" else []
        self.idle, self.last_used = True, 0.0
        self.stopped = asyncio.Event()

    async def start(self, briefly: bool = False) -> int:
        if self.agent_id == "agent-broken":
            raise RepertoryError(f"broken, and it knows {self.secret}")
        return 1

    async def rest(self, within_s: float) -> bool:
        return self.idle

    async def stop(self) -> None:
        self.stopped.set()

    async def tell(self) -> str:
        return "nothing"

    async def fail(self) -> None:
        raise RepertoryError("I failed", secret=self.secret)

    async def wait(self) -> None:
        self.around = self
        await asyncio.Event().wait()

    async def leak(self) -> None:
        Keeper.leaks.append(self)


def made() -> tuple[LocalRef, AgentProcess]:
    process = AgentProcess(Keeper, collect=gc.collect)
    return LocalRef("p", process), process


async def test_it_hosts_one_agent_at_a_time_and_tells_whom() -> None:
    ref, _ = made()
    assert await ref.call("adopt", "agent-1", timeout_s=60) == 1
    assert await ref.call("adopt", "agent-1", timeout_s=60) == 1
    with pytest.raises(Moved):
        await ref.call("adopt", "agent-2", timeout_s=60)
    status = await ref.call("status", timeout_s=60)
    assert (status["agent_id"], status["epoch"], status["identities"]) == ("agent-1", 1, 1)
    assert await ref.call("call", "agent-1", 1, "tell", (), {}, timeout_s=60) == "nothing"


async def test_only_public_methods_can_be_called() -> None:
    ref, _ = made()
    await ref.call("adopt", "agent-1", timeout_s=60)
    with pytest.raises(RepertoryError, match="no method 'stop'"):
        await ref.call("call", "agent-1", 1, "stop", (), {}, timeout_s=60)


async def test_a_busy_agent_is_not_released() -> None:
    ref, process = made()
    await ref.call("adopt", "agent-1", timeout_s=60)
    process._agent.idle = False  # type: ignore[union-attr, misc]
    assert await ref.call("release", "agent-1", 1, 0.0, timeout_s=60) is False
    assert await ref.call("call", "agent-1", 1, "tell", (), {}, timeout_s=60) == "nothing"


async def test_calls_under_way_get_moved_when_their_agent_leaves() -> None:
    ref, _ = made()
    await ref.call("adopt", "agent-1", timeout_s=60)
    waiting = asyncio.create_task(ref.call("call", "agent-1", 1, "wait", (), {}, timeout_s=60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await ref.call("release", "agent-1", 1, 0.0, timeout_s=60) is True
    with pytest.raises(Moved):
        await waiting


async def test_nothing_of_an_agent_is_left_when_the_next_one_is_there() -> None:
    ref, _ = made()
    await ref.call("adopt", "agent-1", timeout_s=60)
    waiting = asyncio.create_task(ref.call("call", "agent-1", 1, "wait", (), {}, timeout_s=60))
    with pytest.raises(RepertoryError):
        await ref.call("call", "agent-1", 1, "fail", (), {}, timeout_s=60)
    await ref.call("release", "agent-1", 1, 0.0, timeout_s=60)
    await asyncio.wait((waiting,))
    waiting.exception()
    del waiting
    await ref.call("adopt", "agent-2", timeout_s=60)
    gc.collect()
    assert (await ref.call("status", timeout_s=60))["spoiled"] == ""
    assert not [o for o in gc.get_objects() if type(o) is Keeper and o.secret]


async def test_a_process_in_which_something_stayed_takes_no_other_agent() -> None:
    ref, _ = made()
    await ref.call("adopt", "agent-1", timeout_s=60)
    await ref.call("call", "agent-1", 1, "leak", (), {}, timeout_s=60)
    await ref.call("release", "agent-1", 1, 0.0, timeout_s=60)
    assert "still refers to agent-1" in (await ref.call("status", timeout_s=60))["spoiled"]
    Keeper.leaks.clear()
    with pytest.raises(Moved):
        await ref.call("adopt", "agent-2", timeout_s=60)


async def test_a_process_whose_agent_could_not_start_takes_no_other_agent() -> None:
    ref, _ = made()
    with pytest.raises(RepertoryError, match="broken"):
        await ref.call("adopt", "agent-broken", timeout_s=60)
    assert "agent-broken" in (await ref.call("status", timeout_s=60))["spoiled"]
