"""The runtime on a real Ray: what runs where, and what happens when any of its processes is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import repertory as rep
from repertory.actors import instance
from repertory.actors.handles import Ref
from repertory.runtime import Runtime

DEADLINE_S = 180.0
TOO_HEAVY_FOR_AGENTS = ("openai", "anthropic", "lancedb", "rich", "typer")

OTHER_PROGRAM = """
import asyncio, sys
import repertory as rep

async def main():
    async with rep.open(sys.argv[1]) as system:
        ada = await system.agent("second")
        print((await ada.send("My name is Kim.")).text)

asyncio.run(main())
"""


async def vitals(ref: Ref) -> dict[str, Any]:
    found: dict[str, Any] = await ref.call("vitals", timeout_s=DEADLINE_S)
    return found


async def kill(ref: Ref) -> None:
    os.kill((await vitals(ref))["pid"], signal.SIGKILL)


async def test_agents_answer_and_remember(system: rep.System) -> None:
    ada = await system.create_agent("ada", tags=["staff"])
    assert "Kim" in (await ada.send("My name is Kim.")).text
    posted = await ada.post("What is my name?")
    assert "Kim" in (await posted.reply(timeout_s=DEADLINE_S)).text
    assert [agent.name for agent in await system.agents(["staff"])] == ["ada"]


async def test_creating_agents_starts_no_process(system: rep.System, runtime: Runtime) -> None:
    before = (await runtime.directory.status())["live"]
    for number in range(20):
        await system.create_agent(f"idle-{number}")
    assert (await runtime.directory.status())["live"] == before


async def test_no_more_agents_are_live_than_the_cap_allows(system: rep.System, runtime: Runtime) -> None:
    agents = [await system.create_agent(f"many-{number}") for number in range(10)]
    replies = await asyncio.gather(*(agent.send("Hello") for agent in agents))
    assert all(reply.text for reply in replies)
    assert (await runtime.directory.status())["most_live"] <= 4


async def test_agents_processes_are_lean_and_know_no_keys(system: rep.System, runtime: Runtime) -> None:
    lean = await system.create_agent("lean")
    await lean.send("Hello")
    route = await runtime.directory.resolve(lean.id)
    found = await vitals(route.process)
    assert not set(TOO_HEAVY_FOR_AGENTS) & set(found["modules"])
    assert "EXAMPLE_API_KEY" not in found["environment"]
    assert b"sesame" not in Path(f"/proc/{found['pid']}/environ").read_bytes()
    gateway = await vitals(instance.reference(runtime.database_id, instance.MODELS))
    assert "EXAMPLE_API_KEY" in gateway["environment"]


async def test_when_an_agents_process_is_killed_it_goes_on_in_another(system: rep.System, runtime: Runtime) -> None:
    agent = await system.create_agent("survivor")
    await agent.send("My name is Kim.")
    await kill((await runtime.directory.resolve(agent.id)).process)
    assert "Kim" in (await agent.send("What is my name?")).text


async def test_a_killed_store_comes_back_with_everything(system: rep.System, runtime: Runtime) -> None:
    agent = await system.create_agent("kept")
    await agent.send("My name is Kim.")
    await kill(runtime.store.ref)
    assert "Kim" in (await agent.send("What is my name?")).text


async def test_a_killed_directory_comes_back_and_knows_who_is_live(system: rep.System, runtime: Runtime) -> None:
    agent = await system.create_agent("found")
    await agent.send("Hello")
    before = await runtime.directory.resolve(agent.id)
    await kill(runtime.directory.ref)
    assert await runtime.directory.find("found") == agent.id
    assert await runtime.directory.resolve(agent.id) == before


async def test_killed_gateways_and_coordinators_come_back(system: rep.System, runtime: Runtime) -> None:
    agent = await system.create_agent("patient")
    for name in (instance.MODELS, instance.BLOCKS, instance.READER):
        await kill(instance.reference(runtime.database_id, name))
    assert (await agent.send("Hello")).text
    await system.blocks.create("board", "empty")


async def test_another_program_joins_the_instance(system: rep.System, database: Path) -> None:
    second = await system.create_agent("second")
    answer = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", OTHER_PROGRAM, str(database)],
                                     capture_output=True, text=True, timeout=DEADLINE_S)
    assert "Kim" in answer.stdout, answer.stderr
    assert "Kim" in (await second.send("What is my name?")).text
