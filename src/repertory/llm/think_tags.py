"""Reasoning that a server leaves in the text, between `<think>` and `</think>` at its beginning.

Ollama, LM Studio and others do so for models such as DeepSeek-R1 and Qwen3. The text may come in pieces that cut a tag
in two.
"""

from __future__ import annotations

from repertory.llm.assembly import Assembly

_OPEN, _CLOSE = "<think>", "</think>"


class ThinkTags:
    """Feeds what a server calls text to an assembly, as reasoning or as text."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._held = ""
        self._state = "begin"
        #: whether any thought has come, behind the line break that follows the tag
        self._begun = False

    def text(self, piece: str) -> None:
        """More of the content."""
        self._held += piece
        if self._state == "begin":
            start = self._held.lstrip()
            if start.startswith(_OPEN):
                self._held, self._state = start.removeprefix(_OPEN), "thinking"
            elif not _OPEN.startswith(start):
                self._state = "text"
        if self._state == "thinking":
            self._think()
        if self._state == "after" and self._held.strip():
            self._held, self._state = self._held.lstrip(), "text"
        if self._state == "text":
            self._assembly.text(self._held)
            self._held = ""

    def end(self) -> None:
        """Nothing more comes."""
        if self._state == "thinking":
            self._assembly.reasoning(self._held)
        elif self._state == "begin":
            self._assembly.text(self._held)
        self._held = ""

    def _think(self) -> None:
        if not self._begun:
            self._held = self._held.lstrip("\n")
            self._begun = bool(self._held)
        thought, closed, rest = self._held.partition(_CLOSE)
        if closed:
            self._assembly.reasoning(thought)
            self._held, self._state = rest, "after"
        else:
            # what may be the beginning of the closing tag waits for the next piece
            kept = next((n for n in range(len(_CLOSE) - 1, 0, -1) if thought.endswith(_CLOSE[:n])), 0)
            self._assembly.reasoning(thought[: len(thought) - kept])
            self._held = thought[len(thought) - kept :]
