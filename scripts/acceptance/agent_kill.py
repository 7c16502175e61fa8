"""An agent's process is killed in the middle of its turn: one answer comes, the model is asked once more at most."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from _model_server import ModelServer

import repertory as rep
from repertory.config import Config
from repertory.errors import OutcomeUnknown
from repertory.memory.rows import agent_stream, inbox_stream
from repertory.messages import TERMINAL
from repertory.runtime import Runtime

KILLS = 20
THINKS_S = 1.0
PATIENCE_S = 600.0


def run(scale: float) -> dict[str, Any]:
    """Kill the process of an agent in `KILLS * scale` of its turns."""
    return asyncio.run(killed(max(2, round(KILLS * scale))))


async def killed(kills: int) -> dict[str, Any]:
    """One agent, `kills` messages, a kill in each of their turns."""
    with tempfile.TemporaryDirectory() as folder, ModelServer(thinks_s=THINKS_S) as model:
        runtime = await Runtime.open(Path(folder), Config.model_validate(
            {"runtime": {"live_cap": 4}, "providers": model.providers}))
        async with rep.open(folder) as system:
            agent = await system.create_agent("ada", model="steered/model", tools=["send_message"])
            waits = [await one_kill(runtime, agent, number, random.Random(number)) for number in range(kills)]
            messages = await runtime.store.read(inbox_stream(agent.id), limit=10 * kills)
            steps = await runtime.store.read(agent_stream(agent.id), limit=100 * kills)
        await runtime.close()
    ended = [row.data["run_id"] for row in steps if row.kind == "step" and row.data["status"] in TERMINAL]
    taken = [row.data["run_id"] for row in messages if row.kind == "message"]
    assert len(taken) == len(set(taken)) == kills, f"{len(taken)} messages were kept, not {kills}"
    assert sorted(ended) == sorted(taken), "a run ended twice or never"
    asked = [model.asked[f"mark-{number}"] for number in range(kills)]
    assert max(asked) <= 2, f"the model was asked {max(asked)} times about one message"
    return {"kills": kills, "asked_again": sum(count > 1 for count in asked), "longest_s": round(max(waits), 1)}


async def one_kill(runtime: Runtime, agent: rep.Agent, number: int, chance: random.Random) -> float:
    """Ask, kill the process after a while, and wait for the answer; the seconds from kill to answer."""
    await agent.memory.blocks()  # it is live
    asking = asyncio.create_task(agent.send(f"mark-{number}", timeout_s=PATIENCE_S))
    route = await runtime.directory.resolve(agent.id)
    pid = (await route.process.call("vitals", timeout_s=PATIENCE_S))["pid"]
    await asyncio.sleep(chance.uniform(0.0, 1.2 * THINKS_S))
    with contextlib.suppress(ProcessLookupError, OutcomeUnknown):
        os.kill(pid, signal.SIGKILL)
    killed_at = time.monotonic()
    reply = await asking
    assert reply.text.count(f"mark-{number}") == 1, f"not one answer to mark-{number}: {reply.text!r}"
    return time.monotonic() - killed_at
