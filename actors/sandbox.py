"""The actor that runs custom tools, and the handle by which agents reach it.

It remembers what came of each op_id while it lives, so that a call whose answer was lost is asked again and not run
again. There is no other place for custom tools: without a sandbox they are an error, never run elsewhere (P8).
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from repertory.actors.handles import Ref
from repertory.errors import OpConflict, OutcomeUnknown, ToolError
from repertory.tools.sandbox import ToolRun, ToolRunner, run_tool
from repertory.tools.tool import Tool

#: child processes at a time; more of them only slow each other down
AT_ONCE = 8
#: results that are remembered; one may be a megabyte, most are short
REMEMBERED = 500
#: seconds beyond a tool's own limit that its caller waits: for its turn, and for a process to start on a busy machine
GRACE_S = 60.0
#: times that a lost call of a tool is made again
TRIES = 3
#: characters of what a tool printed that the model is shown
SHOWN_OUTPUT_CHARS = 4_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    """A call that was begun: what was asked, and its result when it is there."""

    asked: tuple[str, str, str]
    running: asyncio.Task[ToolRun]


class SandboxActor:
    """Runs custom tools in child processes, each op_id once."""

    def __init__(self, runner: ToolRunner = run_tool, *, at_once: int = AT_ONCE) -> None:
        """`runner` carries a tool out; `at_once`: how many may run side by side."""
        self._runner = runner
        self._places = asyncio.Semaphore(at_once)
        self._calls: OrderedDict[str, _Call] = OrderedDict()

    async def run(self, source: str, name: str, arguments: dict[str, Any], op_id: str, timeout_s: float
                  ) -> dict[str, Any]:
        """Run a tool for at most `timeout_s` seconds: {ok, result, stdout, stderr}.

        A call under an op_id that is running, or has run, gets that one's result. Raises OpConflict if it was another
        call, ToolError if no child process can be started.
        """
        asked = (source, name, json.dumps(arguments, sort_keys=True, default=str))
        call = self._calls.get(op_id)
        if call is None:
            running = asyncio.create_task(self._run(source, name, arguments, op_id, timeout_s))
            call = self._calls[op_id] = _Call(asked=asked, running=running)
            self._forget()
        elif call.asked != asked:
            raise OpConflict(f"op_id {op_id} was used before for another call of a tool", op_id=op_id)
        try:
            # whoever asked may give up; the tool goes on for those who ask again
            return asdict(await asyncio.shield(call.running))
        except ToolError:
            self._calls.pop(op_id, None)
            raise

    async def _run(self, source: str, name: str, arguments: dict[str, Any], op_id: str, timeout_s: float) -> ToolRun:
        async with self._places:
            return await self._runner(source, name, arguments, timeout_s=timeout_s, op_id=op_id)

    def _forget(self) -> None:
        for op_id in list(self._calls)[: len(self._calls) - REMEMBERED]:
            if self._calls[op_id].running.done():
                del self._calls[op_id]


class SandboxHandle:
    """How an agent runs a custom tool."""

    def __init__(self, ref: Ref | None) -> None:
        """`ref` leads to a sandbox; None if there is none."""
        self._ref = ref

    async def run(self, tool: Tool, arguments: Mapping[str, Any], *, op_id: str, timeout_s: float) -> str:
        """What the tool returned, as text for the model. Raises ToolError if it failed or could not be run."""
        if self._ref is None:
            raise ToolError(f"There is no sandbox to run {tool.name} in, so it was not run.", tool=tool.name)
        answer = await self._ask(self._ref, tool, dict(arguments), op_id, timeout_s)
        text = _shown(answer["result"])
        printed = (answer["stdout"] + ("" if answer["ok"] else answer["stderr"])).strip()
        if printed:
            text += f"\n\nIt printed:\n{printed[-SHOWN_OUTPUT_CHARS:]}"
        if not answer["ok"]:
            raise ToolError(f"{tool.name} failed: {text}", tool=tool.name)
        return text

    async def _ask(self, ref: Ref, tool: Tool, arguments: dict[str, Any], op_id: str, timeout_s: float
                   ) -> dict[str, Any]:
        tries = TRIES if tool.retry == "safe" else 1
        for left in reversed(range(tries)):
            try:
                answer: dict[str, Any] = await ref.call(
                    "run", tool.source, tool.name, arguments, op_id, timeout_s, timeout_s=timeout_s + GRACE_S)
                return answer
            except OutcomeUnknown as lost:
                if not left:
                    raise ToolError(
                        f"The sandbox did not answer, so it is unknown whether {tool.name} was carried out. Find out "
                        f"before you call it again.", tool=tool.name,
                    ) from lost
        raise AssertionError("a call is tried at least once")


def _shown(result: Any) -> str:
    if isinstance(result, str):
        return result
    return "None" if result is None else json.dumps(result, ensure_ascii=False)
