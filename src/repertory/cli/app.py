"""The commands, put together, and the entry point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from repertory.cli import agents, db, reading, running, talking, top
from repertory.cli.output import errors_as_lines

_HELP = """
Agents that live, remember and survive: from the command line.

Start a runtime, make an agent, talk to it, stop:

    repertory up
    repertory create ada --model offline/rules
    repertory chat ada
    repertory down

Everything lives in one folder, `./db` unless --db or REPERTORY_DB names another. Without `up`, a command that needs
a runtime starts one for itself (some seconds); with it, the command joins it.
"""


class _Commands(TyperGroup):
    """Turns the errors of all commands into lines and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        with errors_as_lines():
            return super().invoke(ctx)


#: the commands in the panels of `--help`
_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "The runtime": (running.up, running.down, running.status, top.top),
    "Agents": (agents.create, talking.chat, talking.send),
    "Look, without a runtime": (reading.agents, reading.blocks, reading.history, reading.prompts),
}


def make_app() -> typer.Typer:
    """The command line as typer sees it."""
    app = typer.Typer(
        name="repertory", help=_HELP, cls=_Commands, no_args_is_help=True, rich_markup_mode="markdown",
        add_completion=False, pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for panel, commands in _PANELS.items():
        for command in commands:
            app.command(rich_help_panel=panel)(command)
    app.add_typer(db.app, name="db", rich_help_panel="Look, without a runtime")
    return app


def main() -> None:
    """Run the command line."""
    make_app()()
