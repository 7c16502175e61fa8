"""Commands that only look: they read the database's files themselves and start nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from repertory.cli.output import DEFAULT_DATABASE, AsJson, Database, console, print_json, print_table, when
from repertory.cli.records import opened
from repertory.cli.transcript import print_message
from repertory.errors import ConfigError
from repertory.memory.agent_types import builtin_types, default_prompt
from repertory.messages import pack

Tags = Annotated[list[str] | None, typer.Option("--tag", help="Only those that carry this tag; may be repeated.")]


def agents(database: Database = DEFAULT_DATABASE, tag: Tags = None, as_json: AsJson = False) -> None:
    """List the agents.

    For example:

    ```
    repertory agents --tag worker
    ```
    """
    with opened(database) as reader:
        found = reader.index.list_agents(match_all=tag or ())
    if as_json:
        print_json(found)
        return
    print_table(
        ("name", "type", "tags", "waiting", "last active", "id"),
        ((one["name"], one["agent_type"], " ".join(one["tags"]), one["waiting"], when(one["last_at"]), one["id"])
         for one in found),
        empty="no agents; make one: repertory create ada",
    )


def blocks(database: Database = DEFAULT_DATABASE, as_json: AsJson = False,
           label: Annotated[str | None, typer.Argument(help="Show this block's versions (a label or an id).")] = None
           ) -> None:
    """List the shared blocks, or the versions of one.

    For example:

    ```
    repertory blocks
    repertory blocks findings
    ```
    """
    with opened(database) as reader:
        versions = reader.blocks() if label is None else reader.versions(label)
    if as_json:
        print_json([pack(version) for version in versions])
        return
    print_table(
        ("label", "version", "by", "when", "what", "value", "id"),
        ((v.label, v.version, v.by, when(v.at), v.action.get("do", ""), _short(v.value), v.block_id) for v in versions),
        empty="no shared blocks",
    )


def history(name: Annotated[str, typer.Argument(help="An agent's name or id.")],
            database: Database = DEFAULT_DATABASE, as_json: AsJson = False,
            conversation: Annotated[str | None, typer.Option(help="Only this conversation.")] = None,
            limit: Annotated[int, typer.Option(help="Show this many of the newest messages.", min=1)] = 50) -> None:
    """Show what was said in an agent's conversations, from the journal.

    For example:

    ```
    repertory history ada --limit 20
    ```
    """
    with opened(database) as reader:
        messages = reader.messages(name, conversation_id=conversation, limit=limit)
    if as_json:
        print_json([pack(message) for message in messages])
        return
    for message in messages:
        print_message(message)
    if not messages:
        console.print("nothing was said yet", style="dim")


def prompts(name: Annotated[str | None, typer.Argument(help="memgpt, letta_v1, react, workflow or summarizer.")] = None,
            as_json: AsJson = False) -> None:
    """Show the default system prompts; `create --system` gives an agent another one.

    For example:

    ```
    repertory prompts memgpt
    ```
    """
    names = [*builtin_types(), "summarizer"]
    if name is not None and name not in names:
        raise ConfigError(f"there is no prompt {name!r}; there are: {', '.join(names)}")
    texts = {one: default_prompt(one) for one in ([name] if name else names)}
    if as_json:
        print_json(texts)
        return
    for one, text in texts.items():
        if len(texts) > 1:
            console.rule(one)
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _short(value: str) -> str:
    line = " / ".join(value.splitlines())
    return line if len(line) <= 60 else f"{line[:57]}…"
