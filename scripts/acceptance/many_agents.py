"""A thousand agents and few processes: none by creating, never more live than the cap, memory flat, chains of two."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from _model_server import ModelServer

import repertory as rep
from repertory.actors import instance
from repertory.actors.shell import named
from repertory.config import Config
from repertory.runtime import Runtime

AGENTS, ASKED, CAP = 1_000, 50, 8
CHAIN, CHAIN_CAP = 20, 2
#: the second half of the rounds may hold so much more memory than the first
GROWTH = 1.25
ROUNDS = 4
PATIENCE_S = 600.0


def run(scale: float) -> dict[str, Any]:
    """1,000 agents, 50 of them asked with a cap of 8; then 20 that wait for each other with a cap of 2."""
    return {**asyncio.run(many(max(20, round(AGENTS * scale)), max(10, round(ASKED * scale)))),
            **asyncio.run(chain(max(4, round(CHAIN * scale))))}


async def many(count: int, asked: int) -> dict[str, Any]:
    """Create `count` agents, then send one message to each of `asked`, in rounds."""
    with tempfile.TemporaryDirectory() as folder:
        runtime = await Runtime.open(Path(folder), config(CAP, {}))
        async with rep.open(folder) as system:
            before = (await runtime.directory.status())["pool"]
            agents = await asyncio.gather(*(system.create_agent(f"agent-{number}") for number in range(count)))
            after = await runtime.directory.status()
            assert not after["live"], "creating agents brought some to life"
            assert after["pool"]["started"] - before["started"] <= 2, "creating agents started processes"
            sizes = []
            for number in range(ROUNDS):
                chosen = [agents[(number * asked + offset) % count] for offset in range(asked)]
                replies = await asyncio.gather(*(agent.send("Hello", timeout_s=PATIENCE_S) for agent in chosen))
                assert all(reply.text for reply in replies), "an agent gave no answer"
                sizes.append(await pool_bytes(runtime))
            status = await runtime.directory.status()
        await runtime.close()
    assert status["most_live"] <= CAP, f"{status['most_live']} agents were live at once"
    assert sizes[-1] <= GROWTH * sizes[1], f"the memory of the processes grows: {sizes}"
    return {"agents": count, "asked": asked * ROUNDS, "most_live": status["most_live"],
            "processes": status["pool"]["started"], "largest_process_mb": [size >> 20 for size in sizes]}


async def chain(length: int) -> dict[str, Any]:
    """Agents that each wait for the next one, with two places among them."""
    with tempfile.TemporaryDirectory() as folder, ModelServer() as model:
        runtime = await Runtime.open(Path(folder), config(CHAIN_CAP, model.providers))
        async with rep.open(folder) as system:
            following = ""
            for number in reversed(range(length)):
                agent = await system.create_agent(
                    f"link-{number}", model="steered/model", blocks={"human": f"NEXT={following}"},
                    tools=["send_message", "send_message_to_agent_and_wait_for_reply"])
                following = agent.id
            reply = await agent.send("Go on.", timeout_s=PATIENCE_S)
            most = (await runtime.directory.status())["most_live"]
        await runtime.close()
    assert reply.text.count("reached") == length, f"only {reply.text.count('reached')} of {length} were reached"
    assert most <= CHAIN_CAP, f"{most} were live at once"
    return {"chain": length, "chain_most_live": most}


def config(cap: int, providers: dict[str, Any]) -> Config:
    """The settings of an instance."""
    return Config.model_validate({"runtime": {"live_cap": cap}, "providers": providers})


async def pool_bytes(runtime: Runtime) -> int:
    """Memory of the largest of the pooled processes."""
    pids = []
    for ref in named(instance.namespace_of(runtime.database_id)):
        if ref.key.startswith("process-"):
            pids.append((await ref.call("vitals", timeout_s=PATIENCE_S))["pid"])
    return max(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * os.sysconf("SC_PAGE_SIZE")
