"""`scripts/profile_message`: where the time of one message goes, hop by hop and function by function."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from yardstick import cluster, flame, hops, machine, mock_model, options, page
from yardstick.timing import each_ms

TRACED = Path(__file__).parent / "traced"
#: messages whose hops are timed, and seconds that stacks are sampled
MESSAGES, SECONDS = 300, 15


async def measure(model: mock_model.MockModel, folder: Path, count: int, seconds: int) -> None:
    """Leave stamps and stacks in `folder`."""
    from yardstick import core  # imports what is traced: only now, when the stamps have their folder
    from yardstick.errands import pid_of

    stacks, stamps = folder / "stacks", folder / "stamps"
    async with core.running(model, folder / "db") as subject:
        agent = await subject.create()
        await each_ms(lambda _: agent.send("hello"), 20)
        for path in stamps.iterdir():
            path.unlink()
        agent = await subject.create()
        await each_ms(lambda i: agent.send(f"hello number {i}"), count)
        await each_ms(lambda _: agent.send("hello"), 70)  # fills the last batch of stamps in every process
        agent = await subject.create()
        await agent.send("hello")
        links = subject.system._links
        actors = {"2 agent": (await subject.resolve(agent.id)).process, "3 gateway": links.models._ref,
                  "4 store": links.store.ref, "5 directory": links.directory.ref}
        pids = {"1 caller": os.getpid(), **{name: await pid_of(actor) for name, actor in actors.items()}}
        spies = flame.record(pids, seconds, stacks)
        end = time.monotonic() + seconds + 1
        while time.monotonic() < end:
            await agent.send("hello")
        await asyncio.gather(*(asyncio.to_thread(spy.wait) for spy in spies))


def show(console: Console, found: list[hops.Hop], beside: list[hops.Hop], root: flame.Box) -> None:
    """Print the tables."""
    table = Table(title="The way of a message (median, and from the 5th to the 95th percentile)")
    for heading in ("what", "ms", "code"):
        table.add_column(heading, justify="right" if heading == "ms" else "left")
    for hop in found:
        table.add_row(hop.name, hop.ms.text(), ", ".join(path.split(".", 1)[1] for path in hop.code))
    table.add_section()
    for hop in beside:
        table.add_row(hop.name, hop.ms.text(), "")
    console.print(table)
    for process, box in sorted(root.children.items()):
        console.print(f"[bold]{process}[/]: {100 * box.samples / root.samples:.0f} % of all samples")
        for name, share in flame.top(root, process):
            console.print(f"    {100 * share:4.1f} %  {name}", highlight=False)


def plain(found: list[hops.Hop], beside: list[hops.Hop], root: flame.Box, facts: dict[str, Any]) -> dict[str, Any]:
    """As plain data."""
    def data(some: list[hops.Hop]) -> list[dict[str, Any]]:
        return [{"what": h.name, "code": h.code, "p5_ms": h.ms.low, "p50_ms": h.ms.middle, "p95_ms": h.ms.high}
                for h in some]

    return {"facts": facts, "hops": data(found), "beside": data(beside),
            "functions": {process: flame.top(root, process, 20) for process in root.children}}


def main() -> None:
    """Run it."""
    parser = options.parser(__doc__ or "")
    parser.add_argument("--page", action="store_true", help="write docs/the-way-of-a-message.md and its flame graph")
    chosen = parser.parse_args()
    facts = machine.facts()
    with mock_model.running() as model, cluster.work_folder(options.ROOT) as folder:
        for name in ("stacks", "stamps"):
            (folder / name).mkdir()
        os.environ["YARDSTICK_TRACE"] = str(folder / "stamps")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(TRACED), os.environ.get("PYTHONPATH", "")])
        install()
        with cluster.local_ray():
            asyncio.run(measure(model, folder, 30 if chosen.quick else MESSAGES, 3 if chosen.quick else SECONDS))
        stamps = hops.read_stamps(folder / "stamps")
        found, beside, root = hops.hops(stamps), hops.inside(stamps), flame.merged(folder / "stacks")
    chosen.out.mkdir(exist_ok=True)
    path = chosen.out / f"message-{time.strftime('%Y%m%d-%H%M%S')}.svg"
    graph = flame.draw(root, f"The way of a message: {facts['processor']}, {facts['cores']} cores")
    data = plain(found, beside, root, facts)
    path.write_text(graph)
    path.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")
    if chosen.page:
        docs = options.ROOT / "docs"
        (docs / "the-way-of-a-message.svg").write_text(graph)
        (docs / "the-way-of-a-message.md").write_text(page.page(found, beside, data["functions"], facts))
    if chosen.json:
        print(json.dumps(data))
    else:
        show(Console(width=170), found, beside, root)
        print(f"kept: {path} (and .json)")


def install() -> None:
    """Stamp this process too: it has begun without the folder of stamps."""
    import runpy

    runpy.run_path(str(TRACED / "sitecustomize.py"))


if __name__ == "__main__":
    main()
