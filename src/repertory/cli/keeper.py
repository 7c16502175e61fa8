"""The process behind `repertory up`: it starts the runtime of one database and keeps it until it is told to stop.

It holds a lock on `keeper.json` in the database's folder for as long as it lives, so that a stale file is never
mistaken for a living process, whatever process has its number by now.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from repertory.config import load_config
from repertory.errors import ConfigError, DatabaseLocked, RepertoryError, StorageError
from repertory.memory.database import prepare

FILE_NAME = "keeper.json"
LOG_NAME = "keeper.log"
#: seconds: Ray needs five on a quiet machine, and minutes on one that has far more to do than it can
START_S = 600.0
#: seconds from the request to stop until the process is killed
STOP_S = 60.0
_LOCK_TRIES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Keeper:
    """A running keeper."""

    pid: int
    #: seconds since 1970
    started_at: float
    log: str


def find_keeper(database: Path) -> Keeper | None:
    """The keeper of this database, if one is alive."""
    path = database / FILE_NAME
    try:
        with path.open("r+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return Keeper(**json.load(file))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        pass  # never kept, or at this very moment about to be
    return None


def start_keeper(database: Path) -> Keeper:
    """Start a keeper and wait until the runtime is ready.

    Raises:
        ConfigError, StorageError: what the keeper's own start raised.
        RepertoryError: it ended or was not ready in time; the message says where its log is.
    """
    load_config(database)
    prepare(database)
    log = (database / LOG_NAME).resolve()
    reading, writing = os.pipe()
    with log.open("ab") as sink, os.fdopen(reading, "r", encoding="utf-8") as answer:
        process = subprocess.Popen(
            [sys.executable, "-m", "repertory.cli.keeper", str(database), str(writing)], stdin=subprocess.DEVNULL,
            stdout=sink, stderr=sink, start_new_session=True, pass_fds=(writing,),
        )
        os.close(writing)
        said = _wait_for_line(answer, process)
    if said.get("ready"):
        return Keeper(pid=process.pid, started_at=said["started_at"], log=str(log))
    kind = {"ConfigError": ConfigError, "StorageError": StorageError}.get(said.get("kind", ""), RepertoryError)
    raise kind(f"{said.get('error', 'the runtime ended while it was starting')} (its log: {log})")


def stop_keeper(database: Path) -> Keeper | None:
    """Ask the keeper to stop and wait until it has; None if there was none."""
    keeper = find_keeper(database)
    if keeper is None:
        return None
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(keeper.pid, number)
        except ProcessLookupError:
            return keeper
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            if find_keeper(database) is None:
                return keeper
            time.sleep(0.05)
    raise RepertoryError(f"process {keeper.pid} does not end; look into {keeper.log}")


def _wait_for_line(answer: Any, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The one line that the keeper says about its start; empty if it dies first."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        readable, _, _ = select.select([answer], [], [], 1.0)
        if readable:
            line = answer.readline()
            said: dict[str, Any] = json.loads(line) if line else {}
            return said
    process.kill()
    return {"error": f"the runtime was not ready within {START_S:g} s"}


async def _keep(database: Path, say: int) -> None:
    from repertory.api.opening import open

    # never closed: the lock goes with the process itself, after everything that Ray does at its end
    fd = os.open(database / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    await _lock(fd)
    keeper = Keeper(pid=os.getpid(), started_at=time.time(), log=str((database / LOG_NAME).resolve()))
    os.ftruncate(fd, 0)
    os.write(fd, json.dumps(asdict(keeper)).encode())
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open(database) as system:
        if not system.started:
            raise DatabaseLocked(
                f"another program runs {database} and ends it when it ends: commands join it as long as it lives; "
                "for a runtime that stays, say `up` when it has ended")
        _say(say, ready=True, started_at=keeper.started_at)
        await stop.wait()


async def _lock(fd: int) -> None:
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            await asyncio.sleep(0.1)  # somebody may just be looking whether we are here
    raise DatabaseLocked("another `repertory up` keeps this database already")


def _say(say: int, **what: Any) -> None:
    os.write(say, (json.dumps(what) + "\n").encode())
    os.close(say)


def _run(database: Path, say: int) -> int:
    try:
        asyncio.run(_keep(database, say))
    except RepertoryError as error:
        kinds = (kind for kind in (ConfigError, StorageError) if isinstance(error, kind))
        _say(say, error=error.message, kind=next((kind.__name__ for kind in kinds), ""))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_run(Path(sys.argv[1]), int(sys.argv[2])))
