"""A secret that was told to one agent is nowhere in its process when the next agent has it."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import repertory as rep
from repertory.actors.shell import Recipe
from repertory.config import Config
from repertory.errors import RepertoryError
from repertory.runtime import Runtime

ROUNDS = 5
#: in pieces, so that the search does not find itself
SECRET = ["xylophone-", "quagmire-", "{}"]
PATIENCE_S = 300.0


def run(scale: float) -> dict[str, Any]:
    """`ROUNDS * scale` times: tell an agent a secret, let another one have the process, and search it."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return asyncio.run(searched(max(1, round(ROUNDS * scale))))


async def searched(rounds: int) -> dict[str, Any]:
    """One process for all of them: a cap of one live agent, none spare."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config.model_validate({"runtime": {"live_cap": 1, "warm": 0}})
        runtime = await Runtime.open(Path(folder), config, process=Recipe(module="_haunted", function="make"))
        async with rep.open(folder) as system:
            same = 0
            for number in range(rounds):
                pieces = [*SECRET[:-1], SECRET[-1].format(number)]
                told = await system.create_agent(f"told-{number}")
                next_one = await system.create_agent(f"next-{number}")
                await confide(told, "".join(pieces))
                first = await runtime.directory.resolve(told.id)
                there = await first.process.call("find", pieces, timeout_s=PATIENCE_S)
                assert there, "the search does not find what is there"
                await next_one.send("Hello", timeout_s=PATIENCE_S)
                second = await runtime.directory.resolve(next_one.id)
                same += first.process == second.process
                left = await second.process.call("find", pieces, timeout_s=PATIENCE_S)
                assert not left, f"left behind: {left[:5]}"
        await runtime.close()
    assert same == rounds, f"only {same} of {rounds} processes were taken over: the others had to be replaced"
    return {"rounds": rounds, "processes_taken_over": same, "found_while_there": len(there)}


async def confide(agent: rep.Agent, secret: str) -> None:
    """Tell the secret in every way: a message, memory, an error, a search, a broken call, a stream."""
    await agent.send(f"My name is {secret}.", timeout_s=PATIENCE_S)
    await agent.memory.set("human", f"The secret is {secret}")
    await agent.memory.archive(f"{secret} lies in the archive")
    await agent.memory.search_archive(secret)
    await agent.memory.search_messages(secret)
    for wrong in (agent.memory.block(secret), agent.memory.replace("human", secret + "?", secret)):
        try:
            await wrong
        except RepertoryError:
            continue
        raise AssertionError("that should have been refused")
    async for _ in agent.stream(f"Say {secret}", timeout_s=PATIENCE_S):
        pass


