"""Custom tools run in a child process of their own, never in an agent's (P8).

A child has limits on time, processor time, memory, file sizes and open files; a folder of its own that is deleted
afterwards; and an environment without any of ours, so that no key of a model provider is inherited. On Linux (5.19,
with Landlock) it cannot look into our other processes either, and (6.12) cannot signal them. When it ends, however it
ends, everything that it started goes with it. It is a fence, not a vault: the child runs as the same user, reads and
writes that user's files and uses the network; hostile code needs a machine of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from repertory.errors import ToolError

_CHILD = Path(__file__).with_name("sandbox_child.py")
#: bytes of stdout and of stderr that are kept: more does not fit a model's context anyway
KEPT_OUTPUT_BYTES = 64_000
#: bytes of a result
LONGEST_RESULT_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a child may use."""

    cpu_s: int = 120
    #: address space; numeric libraries reserve much more than they use
    memory_bytes: int = 4 << 30
    #: of each file that it writes
    file_bytes: int = 64 << 20
    open_files: int = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolRun:
    """What came of running a tool."""

    ok: bool
    #: what the function returned (as JSON has it), or the text of what went wrong
    result: Any
    stdout: str = ""
    stderr: str = ""


class ToolRunner(Protocol):
    """What carries a custom tool out. `run_tool` is the real one; a simulation brings its own."""

    async def __call__(self, source: str, name: str, arguments: dict[str, Any], /, *, timeout_s: float, op_id: str
                       ) -> ToolRun:
        """Define the function `name` by `source`, call it with `arguments`, and tell what came of it."""


async def run_tool(source: str, name: str, arguments: dict[str, Any], /, *, timeout_s: float, op_id: str,
                   limits: Limits | None = None) -> ToolRun:
    """Run a tool in a child process; whatever the tool does wrong is in the answer.

    The child finds `op_id`, which is the same whenever the same call is tried again, in `REPERTORY_OP_ID`.
    Raises ToolError if no child can be started.
    """
    request = json.dumps({"source": source, "name": name, "arguments": arguments, "parent": os.getpid(),
                          "limits": asdict(limits or Limits())})
    # files without a name and no pipes: a pipe is at its end only when nobody holds it any more, and a tool may leave
    # a process behind that does
    with (
        tempfile.TemporaryDirectory(prefix="repertory-tool-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as answered,
        tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err,
    ):
        asked.write(request.encode())
        asked.seek(0)
        answer = answered.fileno()
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-B", str(_CHILD), str(answer), cwd=folder, env=_environment(folder, op_id),
                pass_fds=(answer,), start_new_session=True, stdin=asked, stdout=out, stderr=err,
            )
        except OSError as error:
            raise ToolError(f"the sandbox cannot start a process, so {name} was not run: {error}") from error
        problem = await _ended(child, name, timeout_s)
        return _told(os.pread(answer, LONGEST_RESULT_BYTES + 1, 0), problem,
                     *(os.pread(file.fileno(), KEPT_OUTPUT_BYTES, 0).decode(errors="replace") for file in (out, err)))


def _environment(folder: str, op_id: str) -> dict[str, str]:
    return {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "REPERTORY_OP_ID": op_id}


async def _ended(child: asyncio.subprocess.Process, name: str, timeout_s: float) -> str:
    """Wait for the child's end, or make it; what is wrong if it gave no answer."""
    try:
        async with asyncio.timeout(timeout_s):
            return _cause(name, await child.wait())
    except TimeoutError:
        return f"{name} was stopped after {timeout_s:g} seconds: that is its time limit"
    finally:
        # it leads a group of its own, so nothing but what it has started is hit
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


def _told(raw: bytes, problem: str, stdout: str, stderr: str) -> ToolRun:
    if len(raw) > LONGEST_RESULT_BYTES:
        problem, raw = f"the result is longer than {LONGEST_RESULT_BYTES} bytes: return less of it", b""
    try:
        answer = json.loads(raw)
        return ToolRun(ok=answer["ok"], result=answer["result"], stdout=stdout, stderr=stderr)
    except (ValueError, KeyError, TypeError):
        return ToolRun(ok=False, result=problem, stdout=stdout, stderr=stderr)


def _cause(name: str, code: int) -> str:
    if code == -signal.SIGXCPU:
        return f"{name} used more processor time than it may"
    if code < 0:
        return f"{name} was killed by signal {-code}: it may have used more memory than it may"
    return f"{name} ended its process with code {code} before it returned"
