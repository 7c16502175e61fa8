import asyncio
import ctypes
import json
import math
import os
import sys
import textwrap
from math import sqrt
from typing import Any

import pytest

from repertory.actors.sandbox import SandboxActor, SandboxHandle
from repertory.errors import OpConflict, OutcomeUnknown, ToolError
from repertory.tools.custom import custom_tool
from repertory.tools.sandbox import Limits, ToolRun, run_tool
from repertory.tools.tool import Tool

DEADLINE_S = 120.0
FACTOR = 3
UNSENDABLE = object()


async def run(source: str, timeout_s: float = DEADLINE_S, limits: Limits | None = None, **arguments: Any) -> ToolRun:
    return await run_tool(textwrap.dedent(source), "tool", arguments, timeout_s=timeout_s, op_id="op", limits=limits)


async def test_a_tool_returns_its_result_and_what_it_printed():
    done = await run("""
        import sys
        def tool(a, b):
            print("adding")
            print("careful", file=sys.stderr)
            return {"sum": a + b}
    """, a=1, b=2)
    assert done == ToolRun(ok=True, result={"sum": 3}, stdout="adding\n", stderr="careful\n")


async def test_an_async_tool_and_a_result_that_json_has_no_form_for():
    done = await run("""
        import asyncio
        async def tool(x: Missing) -> AlsoMissing:
            await asyncio.sleep(0)
            return {"set": {2, 1}, "complex": 1j}
    """, x=1)
    assert done.result == {"set": [1, 2], "complex": "1j"}


async def test_a_tool_that_raises_tells_what_and_where_and_does_not_hurt_us():
    done = await run("def tool():\n    raise ValueError('no such city')")
    assert (done.ok, done.result) == (False, "ValueError: no such city (line 2 of the tool)")
    assert "Traceback" in done.stderr
    assert (await run("def tool():\n    exit(3)")).result.startswith("SystemExit: 3")
    assert (await run("def other(): ...")).result == "TypeError: the source defines no function 'tool'"


async def test_a_tool_that_ends_its_process_is_a_failure():
    assert "code 7" in (await run("import os\ndef tool():\n    os._exit(7)")).result
    assert "signal 9" in (await run("import os\ndef tool():\n    os.kill(os.getpid(), 9)")).result


async def test_a_tool_that_hangs_is_stopped_with_all_that_it_started(tmp_path):
    pids = tmp_path / "pids"
    os.mkfifo(pids)
    reading = os.open(pids, os.O_RDONLY | os.O_NONBLOCK)
    done = await run(f"""
        import os, subprocess, time
        def tool():
            child = subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL)
            with open({str(pids)!r}, "w") as out:
                out.write(str(child.pid))
            time.sleep(1000)
    """, timeout_s=2.0)
    assert (done.ok, done.result) == (False, "tool was stopped after 2 seconds: that is its time limit")
    written = os.read(reading, 100)
    os.close(reading)
    if written:  # on a very slow machine the time was over before it started anything
        await gone(int(written))


async def gone(pid: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while alive(pid):  # noqa: ASYNC110  # a process that is no child of ours has no event to wait on
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_child_that_a_tool_leaves_behind_ends_with_it_and_does_not_hold_the_answer():
    done = await run("""
        import subprocess
        def tool():
            return subprocess.Popen(["sleep", "1000"]).pid
    """)
    assert done.ok
    await gone(done.result)


async def test_a_tool_sees_nothing_of_our_environment_and_has_a_folder_of_its_own(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    done = await run("""
        import os
        def tool():
            open("note", "w").write("x")
            return [dict(os.environ), os.getcwd(), os.listdir()]
    """)
    environment, folder, files = done.result
    assert "secret" not in json.dumps(environment)
    assert environment["REPERTORY_OP_ID"] == "op"
    assert files == ["note"]
    assert not os.path.exists(folder)


def landlock_version() -> int:
    return ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) if sys.platform == "linux" else -1


@pytest.mark.skipif(landlock_version() < 2, reason="this kernel has no Landlock")
async def test_a_tool_cannot_read_the_environment_of_our_processes_but_may_move_its_files():
    done = await run("""
        import os
        def tool():
            os.mkdir("a"), os.mkdir("b")
            open("a/file", "w").close()
            os.rename("a/file", "b/file")
            return open(f"/proc/{os.getppid()}/environ").read()
    """)
    assert done.ok is False
    assert done.result.startswith("PermissionError"), done


@pytest.mark.skipif(landlock_version() < 6, reason="this kernel's Landlock has no scopes")
async def test_a_tool_cannot_signal_our_processes_but_its_own():
    done = await run("""
        import os, subprocess
        def tool():
            child = subprocess.Popen(["sleep", "1000"])
            child.kill()
            child.wait()
            os.kill(os.getppid(), 0)
    """)
    assert done.result.startswith("PermissionError"), done


async def test_limits_on_memory_files_and_processor_time_hold():
    limits = Limits(memory_bytes=1 << 30, file_bytes=1_000, cpu_s=1)
    greedy = await run("def tool():\n    return len(bytearray(2 << 30))", limits=limits)
    assert greedy.result.startswith("MemoryError")
    big = await run("def tool():\n    with open('x', 'w') as out:\n        out.write('1' * 5000)", limits=limits)
    assert "File too large" in big.result
    busy = await run("def tool():\n    while True: pass", limits=limits)
    assert busy.ok is False
    assert "processor time" in busy.result or "signal" in busy.result


async def test_endless_output_and_a_result_that_is_too_long_are_cut():
    loud = await run("def tool():\n    print('x' * 1_000_000)\n    return 1")
    assert (loud.ok, len(loud.stdout)) == (True, 64_000)
    long = await run("def tool():\n    return 'x' * 2_000_000")
    assert (long.ok, long.result) == (False, "the result is longer than 1000000 bytes: return less of it")


# --- the actor and its handle -----------------------------------------------------------------------------------------

ECHO = Tool(name="echo", description="", source="def echo(text):\n    return text")


class Counting:
    """A runner that counts, and waits until it may go on."""

    def __init__(self) -> None:
        self.runs = 0
        self.go = asyncio.Event()

    async def __call__(self, source: str, name: str, arguments: dict[str, Any], /, *, timeout_s: float, op_id: str
                       ) -> ToolRun:
        self.runs += 1
        await self.go.wait()
        return ToolRun(ok=True, result=arguments)


class Lossy:
    """A reference that loses the first answers."""

    key = "lossy"

    def __init__(self, actor: SandboxActor, losses: int = 0) -> None:
        self.actor, self.losses = actor, losses

    async def call(self, method: str, /, *args: Any, timeout_s: float, **kwargs: Any) -> Any:
        answer = await getattr(self.actor, method)(*args, **kwargs)
        if self.losses:
            self.losses -= 1
            raise OutcomeUnknown
        return answer

    def tell(self, method: str, /, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError


async def test_one_op_id_is_run_once_by_those_who_ask_meanwhile_and_afterwards():
    runner = Counting()
    actor = SandboxActor(runner)
    first = asyncio.create_task(actor.run("s", "n", {"a": 1}, "op", 1.0))
    second = asyncio.create_task(actor.run("s", "n", {"a": 1}, "op", 1.0))
    await asyncio.sleep(0)
    runner.go.set()
    assert await first == await second == {"ok": True, "result": {"a": 1}, "stdout": "", "stderr": ""}
    assert await actor.run("s", "n", {"a": 1}, "op", 1.0) == await first
    assert runner.runs == 1
    with pytest.raises(OpConflict):
        await actor.run("s", "n", {"a": 2}, "op", 1.0)


async def test_no_more_tools_run_at_once_than_may():
    runner = Counting()
    actor = SandboxActor(runner, at_once=2)
    calls = [asyncio.create_task(actor.run("s", "n", {}, f"op{n}", 1.0)) for n in range(5)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert runner.runs == 2
    runner.go.set()
    await asyncio.gather(*calls)
    assert runner.runs == 5


async def test_a_caller_that_gives_up_does_not_stop_the_tool():
    runner = Counting()
    actor = SandboxActor(runner)
    impatient = asyncio.create_task(actor.run("s", "n", {}, "op", 1.0))
    await asyncio.sleep(0)
    impatient.cancel()
    runner.go.set()
    assert (await actor.run("s", "n", {}, "op", 1.0))["ok"]
    assert runner.runs == 1


async def test_without_a_sandbox_a_custom_tool_is_an_error():
    with pytest.raises(ToolError, match="There is no sandbox to run echo in, so it was not run"):
        await SandboxHandle(None).run(ECHO, {"text": "x"}, op_id="op", timeout_s=1.0)


async def test_a_lost_answer_is_asked_for_again_unless_the_tool_may_not_be_repeated():
    runner = Counting()
    runner.go.set()
    handle = SandboxHandle(Lossy(SandboxActor(runner), losses=2))
    assert await handle.run(ECHO, {"text": "x"}, op_id="op", timeout_s=1.0) == '{"text": "x"}'
    assert runner.runs == 1
    once = Tool(name="pay", description="", source="def pay(): ...", retry="never")
    with pytest.raises(ToolError, match="unknown whether pay was carried out"):
        await SandboxHandle(Lossy(SandboxActor(runner), losses=1)).run(once, {}, op_id="op", timeout_s=1.0)


async def test_the_model_reads_the_result_what_was_printed_and_what_went_wrong():
    handle = SandboxHandle(Lossy(SandboxActor()))
    assert await handle.run(ECHO, {"text": "hello"}, op_id="1", timeout_s=DEADLINE_S) == "hello"
    loud = Tool(name="loud", description="", source="def loud():\n    print('working')")
    assert await handle.run(loud, {}, op_id="2", timeout_s=DEADLINE_S) == "None\n\nIt printed:\nworking"
    wrong = Tool(name="wrong", description="", source="def wrong():\n    1 / 0")
    with pytest.raises(ToolError, match="wrong failed: ZeroDivisionError: division by zero"):
        await handle.run(wrong, {}, op_id="3", timeout_s=DEADLINE_S)


# --- tools of one's own -----------------------------------------------------------------------------------------------


def decorate(function):
    return function


@decorate
def hypotenuse(a: float, b: float = 4.0) -> float:
    """The long side of a right triangle.

    Args:
        a: One short side.
    """
    sides = [math.pow(x, 2) for x in (a, b)]
    return FACTOR * sqrt(sum(sides))


async def test_a_function_becomes_a_tool_that_stands_alone():
    tool = custom_tool(hypotenuse, retry="never")
    assert (tool.name, tool.description, tool.retry) == ("hypotenuse", "The long side of a right triangle.", "never")
    assert tool.function is None
    assert "@decorate" not in tool.source
    done = await run_tool(tool.source, tool.name, {"a": 3.0}, timeout_s=DEADLINE_S, op_id="op")
    assert done.result == 15.0


def test_a_function_that_cannot_stand_alone_is_refused_with_the_name_of_what_it_lacks():
    secret = "x"

    def closes(a: int) -> str:
        return secret * a

    def uses_an_object(a: int) -> str:
        return f"{UNSENDABLE}{a}"

    def uses_a_neighbour(a: int) -> float:
        return hypotenuse(a)

    with pytest.raises(ToolError, match="uses secret of the function around it"):
        custom_tool(closes)
    with pytest.raises(ToolError, match="uses 'UNSENDABLE' of its file"):
        custom_tool(uses_an_object)
    with pytest.raises(ToolError, match="uses 'hypotenuse' of its file"):
        custom_tool(uses_a_neighbour)
    with pytest.raises(ToolError, match="needs a type annotation"):
        custom_tool(lambda a: a)
