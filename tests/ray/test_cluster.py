"""A Ray cluster of two nodes: agents live on both, each node has a gateway, a node that dies takes nothing along.

In a program of its own, since this one is in another Ray already.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio, json, sys
import ray
from ray.cluster_utils import Cluster
import repertory as rep
from repertory.actors.shell import named

TIMEOUT_S = 120.0

async def nodes_of(system, agents):
    routes = [await system._links.directory.resolve(agent.id) for agent in agents]
    return [(await route.process.call("vitals", timeout_s=TIMEOUT_S))["node"] for route in routes]

async def gateways():
    found = [ref for ref in named(ray.util.list_named_actors(all_namespaces=True)[0]["namespace"])
             if ref.key.startswith("models")]
    asked = {}
    for ref in found:
        status = await ref.call("status", timeout_s=TIMEOUT_S)
        node = (await ref.call("vitals", timeout_s=TIMEOUT_S))["node"]
        asked[node] = sum(one["usage"]["requests"] for one in status["providers"].values())
    return asked

async def main(database):
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    other = cluster.add_node(num_cpus=1)
    async with rep.open(database, config={"runtime": {"address": cluster.address, "live_cap": 8}}) as system:
        agents = [await system.create_agent(f"agent-{number}") for number in range(8)]
        await asyncio.gather(*(agent.send(f"My number is {number}.") for number, agent in enumerate(agents)))
        before, asked = await nodes_of(system, agents), await gateways()
        cluster.remove_node(other, allow_graceful=False)
        answers = await asyncio.gather(*(agent.send("What is my number?", timeout_s=TIMEOUT_S) for agent in agents))
        after = await nodes_of(system, agents)
        print(json.dumps({"before": before, "asked": asked, "after": after, "gone": other.node_id,
                          "answers": [answer.text for answer in answers]}))
    ray.shutdown()
    cluster.shutdown()

asyncio.run(main(sys.argv[1]))
"""


def test_agents_use_both_nodes_and_outlive_one_of_them(tmp_path: Path) -> None:
    program = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "database")], capture_output=True,
                             text=True, timeout=400, check=False)
    assert program.returncode == 0, program.stderr[-3_000:]
    seen = json.loads(program.stdout.strip().splitlines()[-1])
    assert len(set(seen["before"])) == 2
    assert set(seen["asked"]) == set(seen["before"])
    assert min(seen["asked"].values()) > 0
    assert seen["gone"] in seen["before"]
    assert set(seen["after"]) == set(seen["before"]) - {seen["gone"]}
    assert all(str(number) in answer for number, answer in enumerate(seen["answers"]))
