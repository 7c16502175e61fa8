"""What a simulated person asks for: a little language that the simulated model carries out step by step.

``[[#m12(append,notes;ask,agent-1,#m12.1(say);post,agent-2,#m12.2(say))]]`` is message `m12`: append a line to block
`notes`, then ask agent-1 and wait, then write to agent-2, then answer ``re:m12``. ``a+b`` calls both at once. There
are no quotes or braces in it, so it survives whatever a system wraps around a message; one that was shortened to fit
a window is no message, and is answered ``re:nothing``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(r"#(m[\w.]*)\(")


@dataclass(frozen=True, kw_only=True, slots=True)
class Op:
    """One thing to do: a verb, plain arguments, and the message inside it if there is one."""

    verb: str
    arguments: tuple[str, ...] = ()
    message: Order | None = None

    def __str__(self) -> str:
        parts = [self.verb, *self.arguments, *([str(self.message)] if self.message else [])]
        return ",".join(parts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A message: its token, and the steps, each of them one or several things to do at once."""

    token: str
    steps: tuple[tuple[Op, ...], ...]

    def __str__(self) -> str:
        return f"#{self.token}({';'.join('+'.join(map(str, step)) for step in self.steps)})"

    @property
    def text(self) -> str:
        """What is sent."""
        return f"[[{self}]]"

    def inner(self) -> list[Order]:
        """All messages inside this one, at any depth."""
        found: list[Order] = []
        for step in self.steps:
            for op in step:
                if op.message is not None:
                    found += [op.message, *op.message.inner()]
        return found


def order(token: str, *steps: Op | tuple[Op, ...]) -> Order:
    """A message with these steps."""
    return Order(token=token, steps=tuple((step,) if isinstance(step, Op) else step for step in steps))


def find(text: str) -> Order | None:
    """The first order in a text; None if there is none that is whole."""
    start = text.find("[[#")
    if start < 0:
        return None
    try:
        found, end = _parse(text, start + 2)
    except (IndexError, ValueError):
        return None  # a text that was cut off somewhere: the model makes nothing of it
    return found if text.startswith("]]", end) else None


def _parse(text: str, at: int) -> tuple[Order, int]:
    match = _TOKEN.match(text, at)
    if match is None:
        raise ValueError("no message here")
    at = match.end()
    steps: list[tuple[Op, ...]] = []
    step: list[Op] = []
    if text[at] == ")":
        return Order(token=match[1], steps=()), at + 1
    while True:
        op, at = _parse_op(text, at)
        step.append(op)
        mark, at = text[at], at + 1
        if mark in ";)":
            steps.append(tuple(step))
            step = []
        if mark == ")":
            return Order(token=match[1], steps=tuple(steps)), at
        if mark not in ";+":
            raise ValueError(f"{mark!r} in the midst of a message")


def _parse_op(text: str, at: int) -> tuple[Op, int]:
    words: list[str] = []
    message: Order | None = None
    while True:
        if text[at] == "#":
            message, at = _parse(text, at)
        else:
            start = at
            while text[at] not in ",;+)":
                at += 1
            words.append(text[start:at])
        if text[at] != ",":
            return Op(verb=words[0], arguments=tuple(words[1:]), message=message), at
        at += 1
