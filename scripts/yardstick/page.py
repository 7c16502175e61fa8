"""The page `docs/the-way-of-a-message.md`: figures and code as they are, so that neither can drift from the other."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from typing import Any

from yardstick.hops import Hop
from yardstick.timing import significant

HEAD = """# The way of a message

One message to a live agent, from `await agent.send(...)` to its reply, takes three hops between processes, as few as
any system of this kind needs: **caller → agent → gateway → agent → store → agent → caller**. The message itself is
kept while the model is being asked, so its durability costs no time of its own.

```
caller            agent's process          gateway            model            store
  │  ask ────────────▶ │                      │                 │                │
  │                    │ answer ─────────────▶│ HTTP ──────────▶│                │
  │                    │ commit (the message) ─────────────────────────────────▶ │  meanwhile
  │                    │◀─────────────────────│◀────────────────│                │
  │                    │ commit (the step: answer, status, outgoing messages) ──▶│  one synced append
  │◀───────────────────│◀────────────────────────────────────────────────────────│
```

The messages that were timed are one conversation, so the request grows to some hundred messages on the way.

This page is written by `scripts/profile_message --page`: the figures are of one run on the machine named below, the
code is that of the tree at that moment. Absolute times say little about another machine; the shares do.
"""


def page(found: list[Hop], beside: list[Hop], functions: dict[str, Any], facts: dict[str, Any]) -> str:
    """The page as Markdown."""
    whole = found[-1].ms.middle
    parts = [HEAD, f"*{facts['processor']}, {facts['cores']} cores, {facts['at']}; a sync of the disk takes "
                   f"{facts['sync_ms']} ms; the mock model answers at once.*", "", "## Hop by hop", "",
             "| | what | median ms | 5 %–95 % | share |", "|---|---|---|---|---|"]
    for number, hop in enumerate(found[:-1], 1):
        parts.append(f"| {number} | {hop.name} | {significant(hop.ms.middle)} | {significant(hop.ms.low)}–"
                     f"{significant(hop.ms.high)} | {100 * hop.ms.middle / whole:.0f} % |")
    parts.append(f"| | **the whole way** | **{significant(whole)}** | {significant(found[-1].ms.low)}–"
                 f"{significant(found[-1].ms.high)} | |")
    parts += ["", "Within these, or beside them:", ""]
    parts += [f"- {hop.name}: {significant(hop.ms.middle)} ms" for hop in beside]
    parts += ["", "## Function by function", "",
              "Width is time in which a process held its interpreter; each process stands on its own.", "",
              "![flame graph](the-way-of-a-message.svg)", ""]
    for process, top in functions.items():
        parts.append(f"- **{process}**: " + "; ".join(f"`{name}` {100 * share:.0f} %" for name, share in top[:5]))
    parts += ["", "## The code of each hop", ""]
    for number, hop in enumerate(found[:-1], 1):
        if hop.code:
            parts += [f"### {number}. {hop.name[:1].upper()}{hop.name[1:]}", ""]
            for path in hop.code:
                parts += [f"`{path}`", "", "```python", source(path), "```", ""]
    return "\n".join(parts)


def source(path: str) -> str:
    """The source of a function or method, named by its path below `repertory`, without its docstring."""
    parts = path.split(".")
    at = next((index for index, part in enumerate(parts) if part[0].isupper()), len(parts) - 1)
    found: Any = importlib.import_module(".".join(["repertory", *parts[:at]]))
    for name in parts[at:]:
        found = getattr(found, name)
    return without_docstring(textwrap.dedent(inspect.getsource(found))).rstrip()


def without_docstring(code: str) -> str:
    """`code` of one function without its docstring: the page says what it is for."""
    body = ast.parse(code).body[0].body  # type: ignore[attr-defined]  # one function
    first = body[0]
    if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(body) > 1):
        return code
    lines = code.splitlines()
    return "\n".join(lines[: first.lineno - 1] + lines[first.end_lineno or first.lineno:])
