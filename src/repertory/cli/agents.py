"""`create`: a new agent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from repertory.api.opening import open_sync
from repertory.cli.output import DEFAULT_DATABASE, AsJson, Database, console, print_json
from repertory.errors import ConfigError

Name = Annotated[str, typer.Argument(help="Its name; no other agent may have it.")]
Model = Annotated[str, typer.Option(help="A model handle, `provider/model`.")]
Type = Annotated[str, typer.Option("--type", help="memgpt, letta_v1, react or workflow.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="To find it by; may be repeated.")]
BlockTexts = Annotated[list[str] | None, typer.Option("--block", metavar="LABEL=TEXT", help="A memory block's text.")]
SystemFile = Annotated[Path | None, typer.Option("--system", help="A file with the system prompt.")]


def create(name: Name, database: Database = DEFAULT_DATABASE, model: Model = "offline/rules",
           type: Type = "memgpt", tag: Tags = None, block: BlockTexts = None,
           system: SystemFile = None, as_json: AsJson = False) -> None:
    """Create an agent.

    For example:

    ```
    repertory create ada --tag worker --block "human=My name is Kim."
    repertory create max --type letta_v1 --model openai/gpt-4o-mini
    ```
    """
    settings = {} if system is None else {"system": _text_of(system)}
    blocks = _texts(block)
    with open_sync(database) as running:
        agent = running.create_agent(name, model=model, type=type, tags=tag or (), blocks=blocks, **settings)
    if as_json:
        print_json({"id": agent.id, "name": agent.name, "tags": list(agent.tags)})
    else:
        console.print(f"created {name} ({agent.id}); talk to it: repertory chat {name}", soft_wrap=True)


def _texts(given: list[str] | None) -> dict[str, str] | None:
    if not given:
        return None
    texts = {}
    for one in given:
        label, equals, text = one.partition("=")
        if not equals or not label.strip():
            raise ConfigError(f"a block is given as LABEL=TEXT, not {one!r}")
        texts[label.strip()] = text
    return texts


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the system prompt {file} cannot be read: {error}") from None
