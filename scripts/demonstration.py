"""Answer a question over a corpus with a supervisor and workers, as a map-reduce of long-lived agents.

Each worker reads its share of the documents, archives what it finds, and reports it on a block that all share; the
supervisor splits the work, asks all workers by their tag, merges, and answers with citations. Everything is kept: a
second run finds the agents again, and a run that was killed goes on where it stopped.

Without FOLDER the corpus is the descriptions of the Python distributions that are installed here. The default model
follows fixed rules and needs nothing; with OPENAI_API_KEY (and OPENAI_BASE_URL) or ANTHROPIC_API_KEY set, give
--model openai/… or --model anthropic/….
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import repertory as rep
from repertory.groups.documents import Document, from_distributions, from_folder, parts
from repertory.groups.map_reduce import Job, MapReduce, Result
from repertory.tools.builtin.findings import FINDINGS

QUESTION = "Which package does data validation using Python type hints?"
TAG = "worker"
#: characters of the block of findings
FINDINGS_LIMIT_CHARS = 200_000
#: seconds for one message: a slow model that reads a long document
MESSAGE_S = 600.0
READING = ("report_findings", "archival_memory_insert", "archival_memory_search", "conversation_search")
LEADING = ("send_message_to_agents_matching_tags", "archival_memory_insert", "archival_memory_search",
           "conversation_search")

screen = Console(stderr=True)


class Party:
    """An agent as a member of the group."""

    def __init__(self, agent: rep.Agent) -> None:
        self.agent, self.name = agent, agent.name

    async def send(self, text: str, *, key: str) -> rep.Reply:
        return await self.agent.send(text, key=f"{self.name}/{key}", timeout_s=MESSAGE_S)


class Board:
    """The shared block of findings as the group uses it."""

    def __init__(self, block: rep.SharedBlock) -> None:
        self.block = block

    async def text(self) -> str:
        return (await self.block.read()).value

    async def append(self, text: str, *, key: str) -> object:
        return await self.block.append(text, key=key)


async def hire(system: rep.System, name: str, model: str, tools: tuple[str, ...], tags: tuple[str, ...]) -> rep.Agent:
    """The agent of that name; it is created if this is its first job."""
    if not await system.has_agent(name):
        await system.create_agent(name, type="letta_v1", model=model, tools=tools, tags=tags, key=f"hire/{name}",
                                  context_window=32_000 if model.startswith("offline/") else 128_000)
    return await system.agent(name)


async def take_seats(agents: list[rep.Agent], board: rep.SharedBlock) -> None:
    """Everybody sees this job's board, and no earlier one."""
    async def seat(agent: rep.Agent) -> None:
        seen = {block.label: block for block in await agent.memory.blocks()}
        if (old := seen.get(FINDINGS)) is not None and old.block_id != board.id:
            await agent.memory.remove(FINDINGS)
        if old is None or old.block_id != board.id:
            await agent.memory.attach(board)

    await asyncio.gather(*map(seat, agents))


async def work(options: argparse.Namespace, documents: list[Document]) -> dict[str, Any]:
    """Carry out the job and tell what came of it."""
    job = Job(question=options.question, documents=tuple(parts(documents)))
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                  console=screen, transient=True, disable=not screen.is_terminal) as progress:
        bar = progress.add_task("starting", total=None)

        def show(what: str, done: int, total: int) -> None:
            progress.update(bar, description=what, completed=done, total=total)

        async with rep.open(options.database) as system:
            boss = await hire(system, "supervisor", options.model, LEADING, ())
            workers = [await hire(system, f"worker-{number}", options.model, READING, (TAG,))
                       for number in range(1, options.workers + 1)]
            board = await system.blocks.create(
                FINDINGS, description="What the readers found: [document] sentence, one a line.",
                limit_chars=FINDINGS_LIMIT_CHARS, key=f"board/{job.id}")
            await take_seats([boss, *workers], board)
            group = MapReduce(Party(boss), [Party(worker) for worker in workers], Board(board), tag=TAG,
                              on_progress=show)
            result = await group.run(job)
            return {**told(result), "agents": [await memory_of(agent) for agent in (boss, *workers)],
                    "blocks": [await history_of(board)]}


def told(result: Result) -> dict[str, Any]:
    """The answer, as the JSON has it."""
    return {
        "answer": result.answer, "citations": [asdict(citation) for citation in result.citations],
        "documents": {"total": result.documents, "done": result.done},
    }


async def memory_of(agent: rep.Agent) -> dict[str, Any]:
    """What an agent remembers."""
    state = await agent.state()
    window = state.get("conversations", {}).get("default", {})
    return {
        "id": agent.id, "name": agent.name, "tags": list(agent.tags), "passages": state.get("passages", 0),
        "messages": window.get("evicted", 0) + len(window.get("messages", ())),
        "in_window": len(window.get("messages", ())), "summary": window.get("summary", ""),
        "recent": [passage["text"] for passage in (await agent.memory.passages(limit=1_000))[-3:]],
    }


async def history_of(board: rep.SharedBlock) -> dict[str, Any]:
    """The shared block and its versions."""
    versions = []
    while page := await board.history(after=versions[-1].version if versions else 0, limit=500):
        versions += page
    return {
        "id": board.id, "label": board.label, "value": versions[-1].value,
        "versions": [{"version": version.version, "by": version.by, "at": version.at, "op_id": version.op_id}
                     for version in versions],
    }


def show(report: dict[str, Any]) -> None:
    """The report for people."""
    out = Console()
    out.print("\n[bold]Answer[/bold]")
    out.print(report["answer"] or "(none)", markup=False)
    out.print("\n[bold]Citations[/bold] (each was looked up in its document)")
    for citation in report["citations"]:
        out.print(f"  {citation['document']}: “{citation['sentence']}”", markup=False)
    documents = report["documents"]
    out.print(f"\n{documents['done']} of {documents['total']} documents are read.")
    table = Table("agent", "messages", "in the window", "archived", "what it archived last", title="What they remember")
    for agent in report["agents"]:
        last = agent["recent"][-1] if agent["recent"] else ""
        table.add_row(agent["name"], str(agent["messages"]), str(agent["in_window"]), str(agent["passages"]),
                      escape(last[:60]))
    out.print(table)
    for block in report["blocks"]:
        names = {agent["id"]: agent["name"] for agent in report["agents"]}
        by: dict[str, int] = {}
        for version in block["versions"]:
            by[names.get(version["by"], version["by"])] = by.get(names.get(version["by"], version["by"]), 0) + 1
        out.print(f"The block [bold]{block['label']}[/bold] has {len(block['versions'])} versions: "
                  + ", ".join(f"{count} by {who}" for who, count in sorted(by.items())))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="a folder of text or Markdown files")
    parser.add_argument("--question", default=QUESTION, help="what to answer (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=4, help="agents that read (default: %(default)s)")
    parser.add_argument("--model", default="offline/rules", help="a handle, provider/model (default: %(default)s)")
    parser.add_argument("--database", type=Path, default=Path(__file__).resolve().parents[1] / ".demo",
                        help="where everything is kept (default: .demo in the checkout)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.workers < 1:
        parser.error(f"--workers must be at least 1, not {options.workers}")
    if not options.question.strip():
        parser.error("--question is empty: ask something")
    try:
        documents = from_folder(options.folder) if options.folder else from_distributions()
        report = asyncio.run(work(options, documents))
    except rep.RepertoryError as error:
        screen.print(f"[red]error:[/red] {error.message}", highlight=False)
        return 1
    except KeyboardInterrupt:
        screen.print("interrupted: run it again, and it goes on where it stopped")
        return 130
    if options.json:
        json.dump(report, sys.stdout, ensure_ascii=False)
        print()
    else:
        show(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
