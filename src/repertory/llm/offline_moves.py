"""What the offline model can do in answer to a request: say something, or call a tool."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Say:
    """Give an answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """Call a tool and look at its result afterwards."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    thought: str = "A rule says so."
    #: ask to be called again with the result (agents of the MemGPT kind)
    again: bool = True


@dataclass(frozen=True, slots=True)
class Calls:
    """Call several tools at once."""

    calls: tuple[Call, ...]


Move = Say | Call | Calls
