"""The chat on a terminal: answers appear while they are written, slash commands show the agent's memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rich.markup import escape

from repertory.api.facade import Blocking
from repertory.api.replies import Event
from repertory.cli.output import complaints, console, print_table, when
from repertory.cli.speech import Speech
from repertory.cli.transcript import print_message
from repertory.errors import RepertoryError
from repertory.messages import DEFAULT_CONVERSATION

#: the tool by which agents of the type memgpt speak: what it says is shown, not that it was called
_SPEAKING = "send_message"


class Chat:
    """One chat."""

    def __init__(self, agent: Blocking, conversation_id: str = DEFAULT_CONVERSATION,
                 read: Callable[[], str] | None = None) -> None:
        """`agent` is an `Agent` of the synchronous facade; `read` gives the next line, EOFError at the end."""
        self._agent = agent
        self._thread = agent.conversation(conversation_id)
        self._read = read or self._ask
        self._commands: dict[str, tuple[Callable[[str], None], str]] = {
            "memory": (self._memory, "show its memory blocks"),
            "context": (self._context, "show what the model sees, with counts"),
            "search": (self._search, "/search WORDS: what was said that has these words or their meaning"),
            "archive": (self._archive, "/archive WORDS: search what it has archived"),
            "history": (self._history, "show the messages in its window"),
            "help": (self._help, "show this"),
            "quit": (self._quit, "leave; the agent stays"),
        }
        self._over = False

    def run(self) -> None:
        """Read lines and answer them until the end."""
        console.print(f"[dim]Talking to[/] [bold]{escape(self._agent.name)}[/] [dim](/help for commands)[/]")
        while not self._over:
            try:
                line = self._read().strip()
            except (EOFError, KeyboardInterrupt):
                console.print()
                return
            if not line:
                continue
            try:
                self._command(line) if line.startswith("/") else self._say(line)
            except RepertoryError as error:
                complaints.print(f"[bold red]error:[/] {escape(error.message)}", highlight=False, soft_wrap=True)

    def _ask(self) -> str:
        return console.input("[bold cyan]you[/] ") if sys.stdin.isatty() else input()

    def _say(self, text: str) -> None:
        printer = _Printer()
        try:
            for event in self._thread.stream(text):
                printer.show(event)
        except KeyboardInterrupt:
            printer.end_line()
            console.print("cancelling…", style="dim")
            self._agent.cancel()

    def _command(self, line: str) -> None:
        name, _, argument = line[1:].partition(" ")
        exact = {"exit": "quit", "q": "quit", "?": "help"}.get(name, name)
        matching = [known for known in self._commands if known == exact or (exact and known.startswith(exact))]
        if len(matching) != 1:
            console.print(f"there is no /{escape(name)}; /help lists what there is", style="yellow")
            return
        self._commands[matching[0]][0](argument.strip())

    def _memory(self, _: str) -> None:
        for block in self._agent.memory.blocks():
            shared = f", shared, version {block.version}" if block.block_id else ""
            console.print(f"[bold]{escape(block.label)}[/] [dim]{len(block.value)}/{block.limit_chars} characters"
                          f"{shared}[/]")
            console.print(escape(block.value) or "[dim](empty)[/]", highlight=False, soft_wrap=True)

    def _context(self, _: str) -> None:
        context = self._agent.context(self._thread.conversation_id)
        for name in ("system", "summary", "notes"):
            if context[name]:
                console.rule(name, style="dim")
                console.print(context[name], markup=False, highlight=False, soft_wrap=True)
        console.rule(style="dim")
        tokens = ", ".join(f"{name} {count}" for name, count in context["tokens"].items())
        console.print(f"tokens: {tokens}", style="dim", highlight=False)
        console.print(f"{len(context['messages'])} messages in the window, {context['evicted']} outside; tools: "
                      f"{', '.join(context['tools']) or 'none'}", style="dim", highlight=False)

    def _search(self, words: str) -> None:
        self._found(self._agent.memory.search_messages(words) if words else None, "/search WORDS")

    def _archive(self, words: str) -> None:
        self._found(self._agent.memory.search_archive(words) if words else None, "/archive WORDS")

    def _found(self, found: list[dict[str, Any]] | None, usage: str) -> None:
        if found is None:
            console.print(f"what for? {usage}", style="yellow")
            return
        print_table(("when", "who", "text"),
                    ((when(one.get("at", 0.0)), one.get("role", ""), one.get("text", "")) for one in found),
                    empty="nothing found")

    def _history(self, _: str) -> None:
        for message in self._thread.messages():
            print_message(message)

    def _help(self, _: str) -> None:
        for name, (_command, text) in self._commands.items():
            console.print(f"[bold]/{name:8}[/] {escape(text)}")
        console.print("Ctrl-C while it answers cancels the run; at the prompt it leaves, as Ctrl-D does.", style="dim")

    def _quit(self, _: str) -> None:
        self._over = True


class _Printer:
    """Prints the events of one turn; what was seen while it was being written is not shown a second time."""

    def __init__(self) -> None:
        #: the kind of the line that is being written; empty: none
        self._kind = ""
        self._seen = ""
        #: calls of `send_message` that are being written, by their index
        self._speeches: dict[int, Speech] = {}

    def show(self, event: Event) -> None:
        """Print one event."""
        match event.kind:
            case "text" | "reasoning":
                self._write(event.kind, event.text)
            case "call" if event.data.get("piece"):
                self._speak(event)
            case "call" | "result" if event.data.get("name") != _SPEAKING:
                self._line(f"[yellow]→ {escape(event.text)}[/]" if event.kind == "call"
                           else f"[dim]  {escape(event.text)}[/]")
            case "said":
                if event.text.strip() != self._seen.strip():
                    self._line(f"[bold green]{escape(event.text)}[/]")
                self._fresh()
            case "reset":
                self._line("[dim](once more)[/]")
                self._fresh()
            case "end":
                self.end_line()

    def end_line(self) -> None:
        """Finish a line that is being written."""
        if self._kind:
            console.print()
        self._kind = ""

    def _speak(self, event: Event) -> None:
        index = event.data.get("index", 0)
        if event.data.get("name") == _SPEAKING:
            self._speeches[index] = Speech()
        if index in self._speeches and (words := self._speeches[index].take(event.text)):
            self._write("text", words)

    def _write(self, kind: str, text: str) -> None:
        if self._kind != kind:
            self.end_line()
            self._kind = kind
        if kind == "text":
            self._seen += text
        style = "dim italic" if kind == "reasoning" else "bold green"
        console.print(text, style=style, end="", markup=False, highlight=False, soft_wrap=True)

    def _line(self, markup: str) -> None:
        self.end_line()
        console.print(markup, highlight=False, soft_wrap=True)

    def _fresh(self) -> None:
        self.end_line()
        self._seen = ""
        self._speeches.clear()
