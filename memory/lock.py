"""One writer a database: a lock file.

The lock itself is the kernel's (`flock`), so it goes with the process that holds it, however that ends. What the file
says is for people and for a second program, which finds the running instance by it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from repertory.errors import DatabaseLocked

LOCK_FILE = "lock"


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """Who holds a database."""

    host: str
    pid: int
    #: seconds since 1970
    since: float
    #: where its Ray cluster can be reached; empty without one
    ray_address: str = ""


class DatabaseLock:
    """The lock of one database folder, held from `take` to `release` or to the end of the process."""

    def __init__(self, fd: int, holder: Holder) -> None:
        """Use `take` instead."""
        self._fd = fd
        self.holder = holder

    @classmethod
    def take(cls, folder: Path, *, now: float, ray_address: str = "") -> DatabaseLock:
        """Lock the database in `folder`. `now`: seconds since 1970. Raises DatabaseLocked, which names the holder."""
        fd = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise _refusal(folder) from None
        holder = Holder(host=socket.gethostname(), pid=os.getpid(), since=now, ray_address=ray_address)
        os.ftruncate(fd, 0)
        with contextlib.suppress(OSError):  # a full disk is no reason not to read what is there
            os.pwrite(fd, json.dumps(asdict(holder)).encode(), 0)
        return cls(fd, holder)

    def release(self) -> None:
        """Let another one have it."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1


def holder_of(folder: Path) -> Holder | None:
    """Who holds the database in `folder`, as far as can be read; None if nobody does."""
    try:
        fd = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        try:
            return Holder(**json.loads(os.pread(fd, 65_536, 0)))
        except (ValueError, TypeError):
            return Holder(host="", pid=0, since=0.0)
    finally:
        os.close(fd)


def _refusal(folder: Path) -> DatabaseLocked:
    holder = holder_of(folder) or Holder(host="", pid=0, since=0.0)
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(holder.since))
    return DatabaseLocked(
        f"the database {folder} is open in process {holder.pid} on {holder.host or 'an unknown host'} since {when}: "
        "connect to that one, or end it first", holder=asdict(holder))
