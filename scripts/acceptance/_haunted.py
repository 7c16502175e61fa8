"""Pooled processes that can be searched for what an agent left behind. See `no_leftovers`."""

from __future__ import annotations

import gc
import sys
import types
from typing import Any

from repertory.actors.host import make_process
from repertory.actors.process import AgentProcess


class Searched:
    """An `AgentProcess` with one more method."""

    def __init__(self, process: AgentProcess) -> None:
        self._process = process
        self.adopt, self.release, self.status = process.adopt, process.release, process.status
        self.call, self.linger = process.call, process.linger

    async def find(self, pieces: list[str]) -> list[str]:
        """Where among all living objects the text is that is given in pieces (so that the search itself has it not)."""
        gc.unfreeze()
        gc.collect()
        found = []
        seen: set[int] = set()
        waiting: list[tuple[str, Any]] = [("gc", thing) for thing in gc.get_objects()]
        waiting += [(f"module {name}", vars(module)) for name, module in list(sys.modules.items())
                    if isinstance(module, types.ModuleType)]
        own = {id(waiting), id(seen), id(found), id(sys._getframe()), id(pieces)}
        while waiting:
            path, thing = waiting.pop()
            if id(thing) in seen or id(thing) in own:
                continue
            seen.add(id(thing))
            if isinstance(thing, str | bytes | bytearray):
                text = thing if isinstance(thing, str) else bytes(thing).decode("latin-1")
                if all(piece in text for piece in pieces) and "".join(pieces) in text:
                    found.append(f"{path}: {text[:80]!r}")
                continue
            if path.count(">") < 12:
                waiting += [(f"{path} > {type(thing).__name__}", inner) for inner in gc.get_referents(thing)]
        return found


async def make(**references: Any) -> Searched:
    """As `actors.host.make_process`."""
    return Searched(await make_process(**references))
