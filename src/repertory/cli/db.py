"""`db`: looking after a database. Reading and copying work while a runtime is up; what repairs wants it to be down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.markup import escape
from rich.progress import Progress as Bars
from rich.progress import TaskID

from repertory import maintenance
from repertory.cli.output import DEFAULT_DATABASE, FAILED, AsJson, Database, complaints, console, print_json
from repertory.maintenance import Copied, Progress, Report

T = TypeVar("T")

_STYLES = {"lost": "red", "damaged": "red", "derived": "yellow", "known": "dim"}

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="""
Look after a database: check it, copy it, make it whole again.

For example:

```
repertory db check --db ./db
repertory db backup ~/backups/monday
```
""")


@app.command()
def check(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Read every row and say what is damaged; exit code 1 if anything is. Changes nothing, and a runtime may be up."""
    _tell(_run(lambda progress: maintenance.check(database, progress=progress)), as_json)


@app.command()
def rebuild(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Make everything that is derived from the journal anew, and go back to older versions of damaged tables."""
    _tell(_run(lambda progress: maintenance.rebuild(database, progress=progress)), as_json)


@app.command()
def backup(target: Annotated[Path, typer.Argument(help="A folder that does not exist yet, or is empty.")],
           database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Copy the database as it is at one moment; a runtime may be up."""
    _copied(_run(lambda progress: maintenance.backup(database, target, progress=progress)), as_json)


@app.command()
def restore(source: Annotated[Path, typer.Argument(help="A backup, or any database.")],
            database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Make a new database from a backup; one that exists is never written over."""
    _copied(_run(lambda progress: maintenance.restore(source, database, progress=progress)), as_json)


@app.command()
def upgrade(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Bring a database of an older format to this program's; the old one is kept beside it."""
    done = _run(lambda progress: maintenance.upgrade(database, progress=progress))
    if done is not None:
        _copied(done, as_json)
    elif as_json:
        print_json(None)
    else:
        console.print(f"{database} has this program's format: nothing to do", soft_wrap=True)


def _run(work: Callable[[Progress], Coroutine[Any, Any, T]]) -> T:
    """Carry it out, and show how far it is on stderr."""
    tasks: dict[str, TaskID] = {}
    with Bars(console=complaints, transient=True) as bars:
        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        return asyncio.run(work(progress))


def _tell(report: Report, as_json: bool) -> None:
    """Show a report, and end with code 1 if something new is wrong."""
    if as_json:
        print_json({"sound": report.sound, **asdict(report)})
    else:
        for finding in report.findings:
            rows = f" (rows {finding.first} to {finding.last})" if finding.first else ""
            console.print(f"[{_STYLES[finding.kind]}]{finding.kind}:[/] {escape(finding.detail)}{rows}",
                          highlight=False, soft_wrap=True)
        console.print(f"{report.rows} rows, {report.agents} agents, {report.messages} messages, "
                      f"{report.passages} passages" + ("; a runtime was writing meanwhile" if report.living else ""))
        console.print("sound" if report.sound else "damaged", style="bold green" if report.sound else "bold red")
    if not report.sound:
        raise typer.Exit(FAILED)


def _copied(copied: Copied, as_json: bool) -> None:
    if as_json:
        print_json(asdict(copied))
        return
    for problem in copied.problems:
        complaints.print(f"[yellow]not copied:[/] {escape(problem)}", highlight=False, soft_wrap=True)
    console.print(f"{copied.path}: {copied.rows} rows", soft_wrap=True)
