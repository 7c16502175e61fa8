"""What runs in a sandbox's child process: it takes one request, limits itself, and runs one function.

A script, not a part of the package: it is started as a file with Python's isolated mode and imports nothing of ours.
The request comes as JSON on stdin; the answer goes as JSON to the file descriptor that is its argument, so that
whatever the tool prints cannot be taken for it.
"""

from __future__ import annotations
import __future__  # the module that knows the compiler's flags

import asyncio
import ctypes
import dataclasses
import inspect
import json
import os
import resource
import signal
import sys
import traceback
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
#: Landlock's system calls, alike on all architectures, and the parts of its interface that we use (man 7 landlock)
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_MAKE_BLOCK, _REFER = 1 << 11, 1 << 13
_SCOPE_SOCKETS_AND_SIGNALS = 0b11
_KNOWS_REFER, _KNOWS_SCOPES = 2, 6
_CAPABILITY_VERSION_3 = 0x20080522


def main() -> None:
    """Answer one request."""
    answers = int(sys.argv[1])
    os.set_inheritable(answers, False)
    request = json.loads(sys.stdin.read())
    _die_with(request["parent"])
    _limit(request["limits"])
    if sys.platform.startswith("linux"):
        _seal_off()
    try:
        answer = {"ok": True, "result": _call(request["source"], request["name"], request["arguments"])}
        text = json.dumps(answer, default=_plain)
    except BaseException as error:  # a tool may raise anything, SystemExit too: all of it is an answer
        traceback.print_exc()
        text = json.dumps({"ok": False, "result": _told(error)})
    sys.stdout.flush()
    sys.stderr.flush()
    with os.fdopen(answers, "wb") as stream:
        stream.write(text.encode(errors="replace"))
    # threads that the tool left behind must not keep the process
    os._exit(0)


def _call(source: str, name: str, arguments: dict[str, Any]) -> Any:
    # annotations stay text, so that a type which only exists at the tool's author does no harm
    code = compile(source, f"<tool {name}>", "exec", flags=__future__.annotations.compiler_flag)
    namespace: dict[str, Any] = {"__name__": "repertory_tool"}
    exec(code, namespace)
    function = namespace.get(name)
    if not callable(function):
        raise TypeError(f"the source defines no function {name!r}")
    result = function(**arguments)
    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Any) -> Any:
    return await result


def _told(error: BaseException) -> str:
    """The error and the line of the tool where it happened."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith("<tool ")]
    place = f" (line {frames[-1].lineno} of the tool)" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def _plain(value: Any) -> Any:
    """What JSON has no form for."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    return str(value)


def _limit(limits: dict[str, int]) -> None:
    _set(resource.RLIMIT_CPU, limits["cpu_s"])
    _set(resource.RLIMIT_AS, limits["memory_bytes"])
    _set(resource.RLIMIT_FSIZE, limits["file_bytes"])
    _set(resource.RLIMIT_NOFILE, limits["open_files"])
    _set(resource.RLIMIT_CORE, 0)


def _set(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _die_with(parent: int) -> None:
    """Have the kernel kill us when our parent dies (on Linux; elsewhere the limits end us)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def _seal_off() -> None:
    """Keep the tool out of other processes of this user: their memory and environment (keys!), and signals to them.

    Landlock does that for every process that restricts itself at all; so we ask for a restriction that restricts no
    files. A kernel that does not have it leaves the tool as it is.
    """
    libc = ctypes.CDLL(None)
    # root's own privileges would let it look all the same; without them it is a user like any other
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.capset((ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)())
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    if version < _KNOWS_REFER:
        return
    scoped = version >= _KNOWS_SCOPES
    rules = _Ruleset(_MAKE_BLOCK | _REFER, 0, _SCOPE_SOCKETS_AND_SIGNALS if scoped else 0)
    size = ctypes.sizeof(_Ruleset) if scoped else ctypes.sizeof(ctypes.c_uint64)
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return
    everywhere = os.open("/", os.O_PATH | os.O_CLOEXEC)
    allowed = _Beneath(_MAKE_BLOCK | _REFER, everywhere)
    libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(allowed), 0)
    libc.syscall(_RESTRICT_SELF, ruleset, 0)
    os.close(everywhere)
    os.close(ruleset)


if __name__ == "__main__":
    main()
