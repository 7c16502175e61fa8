"""Messages, as people read them."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from repertory.cli.output import console, when
from repertory.messages import Message

_STYLES = {"user": "bold cyan", "assistant": "bold green", "tool": "dim", "system": "dim"}


def print_message(message: Message) -> None:
    """One message, as people read it."""
    who = message.role if message.sender is None else message.sender.name or message.sender.id or message.role
    head = f"[dim]{when(message.at)}[/] [{_STYLES[message.role]}]{escape(who)}[/]"
    if message.text:
        console.print(f"{head} {escape(message.text)}", highlight=False, soft_wrap=True)
    for call in message.tool_calls:
        console.print(f"{head} [yellow]{escape(call.name)}[/]({escape(_arguments(call.arguments))})",
                      highlight=False, soft_wrap=True)


def _arguments(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())
