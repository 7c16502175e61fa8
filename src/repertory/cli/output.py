"""How the commands speak: rich text for people, JSON for programs, one line for an error."""

from __future__ import annotations

import datetime
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table

from repertory.errors import ConfigError, NotFound, RepertoryError

#: what a shell sees: a failure, a wrong use (bad names and settings included), an interrupt
FAILED, MISUSED, INTERRUPTED = 1, 2, 130

console = Console()
complaints = Console(stderr=True)

Database = Annotated[
    Path, typer.Option("--db", envvar="REPERTORY_DB", help="The database's folder.", show_default=True),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DEFAULT_DATABASE = Path("db")


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """Turn errors into one line that says what to do, and an exit code."""
    try:
        yield
    except RepertoryError as error:
        complaints.print(f"[bold red]error:[/] {_escaped(error.message)}", highlight=False, soft_wrap=True)
        raise SystemExit(MISUSED if isinstance(error, ConfigError | NotFound) else FAILED) from None
    except KeyboardInterrupt:
        complaints.print("interrupted; whatever was acknowledged is kept", style="dim")
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # whoever reads us (`| head`) has had enough; nothing more may be written, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(FAILED) from None


def working(what: str) -> Status:
    """Say what takes a while, on stderr, as long as it takes (only on a terminal)."""
    return complaints.status(what)


def print_json(value: Any) -> None:
    """The value on stdout, as JSON."""
    print(json.dumps(value, indent=2, default=str, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A table, or the line `empty` when there is nothing to show."""
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(_escaped(str(cell)) for cell in row))
    if table.row_count:
        console.print(table)
    else:
        console.print(empty, style="dim")


def when(at: float) -> str:
    """A time (seconds since 1970) as people read it, in their own zone."""
    return datetime.datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S") if at else "never"


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")
