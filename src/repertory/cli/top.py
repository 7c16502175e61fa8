"""`top`: who is live, which turns run, what waits."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from repertory.api.facade import Blocking
from repertory.api.opening import open_sync
from repertory.cli.output import DEFAULT_DATABASE, AsJson, Database, console, print_json


def top(database: Database = DEFAULT_DATABASE, as_json: AsJson = False,
        once: Annotated[bool, typer.Option("--once", help="Show it once and leave.")] = False,
        every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 1.0) -> None:
    """Watch the live agents, the turns that run, the queues and who waits for whom. Ctrl-C leaves.

    For example:

    ```
    repertory top
    repertory top --json
    ```
    """
    with open_sync(database) as running:
        if as_json:
            print_json(snapshot(running))
        elif once:
            console.print(drawn(snapshot(running)))
        else:
            _watch(running, every)


def _watch(running: Blocking, every_s: float) -> None:
    try:
        with Live(drawn(snapshot(running)), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(every_s)
                live.update(drawn(snapshot(running)), refresh=True)
    except KeyboardInterrupt:
        return


def snapshot(running: Blocking) -> dict[str, Any]:
    """What `top` shows, as plain data: status, and those agents that are live, busy or have messages waiting."""
    status: dict[str, Any] = running.status()
    live = status["directory"]["live"]
    agents = [agent for agent in running.overview() if agent["id"] in live or agent["waiting"] or agent["turns"]]
    for agent in agents:
        agent["live"] = agent["id"] in live
    return {**status, "agents": agents}


def drawn(now: dict[str, Any]) -> Group:
    """The same, to look at."""
    names = {agent["id"]: agent["name"] for agent in now["agents"]}
    directory, store = now["directory"], now["store"]
    head = Text(
        f"{len(directory['live'])} of at most {directory['cap']} live, {directory['wanted']} wait for a place   "
        f"{store['agents']} agents, {store['waiting']} messages waiting, {store['open_turns']} turns open, "
        f"{store['rows']} rows", style="bold")
    table = Table("agent", "live", "turns", "parked", "waiting", box=None, header_style="bold", pad_edge=False)
    for agent in now["agents"]:
        parked = sum(turn["parked"] for turn in agent["turns"])
        table.add_row(Text(agent["name"]), "yes" if agent["live"] else "", str(len(agent["turns"]) - parked or ""),
                      str(parked or ""), str(agent["waiting"] or ""))
    waits = Text("\n".join(f"{names.get(asker, asker)} waits for {names.get(target, target)}"
                           for asker, _, _, target, _ in now["waits"]), style="yellow")
    return Group(head, table, waits)
