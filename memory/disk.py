"""Files as the store needs them, behind a Protocol so that a simulation can crash them.

A disk is one flat folder of small files. It decides nothing: what is appended, when it is synced and what is made of
a torn end are in `memory.tail` and `memory.durable`, which the simulator runs too. All failures are plain OSErrors.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

_T = TypeVar("_T")


class Disk(Protocol):
    """One flat folder of files. Until it is synced, what was appended may be lost, or be there in part."""

    async def append(self, name: str, data: bytes) -> None:
        """Write at the end of a file, which is created if need be. When it raises, a part may have been written."""

    async def sync(self, name: str) -> None:
        """Return when all that was appended to the file survives a loss of power. When it raises, nobody knows."""

    async def replace(self, name: str, data: bytes) -> None:
        """Make `data` the whole content of a file, old or new: atomically and durably; all of it or nothing."""

    async def read(self, name: str) -> bytes:
        """All of a file. Raises FileNotFoundError."""

    async def delete(self, name: str) -> None:
        """Delete a file, if it is there. It may come back after a loss of power."""

    async def sizes(self) -> dict[str, int]:
        """The files that are there, by name, with their sizes in bytes."""

    async def free_bytes(self) -> int:
        """How much more this process may write."""


class LocalDisk:
    """A folder of this machine. Satisfies `Disk`."""

    def __init__(self, folder: Path) -> None:
        """`folder` must exist."""
        self._folder = folder
        self._open: dict[str, int] = {}
        self._nameless: dict[str, None] = {}
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="disk")

    async def append(self, name: str, data: bytes) -> None:
        """See `Disk.append`. It only copies into the page cache, so it does not go to a thread."""
        fd = self._open.get(name)
        if fd is None:
            path = self._folder / name
            if not path.exists():
                self._nameless[name] = None
            fd = self._open[name] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]

    async def sync(self, name: str) -> None:
        """See `Disk.sync`."""
        await self._in_thread(lambda: self._sync(name))

    async def replace(self, name: str, data: bytes) -> None:
        """See `Disk.replace`."""
        self._close(name)
        await self._in_thread(lambda: self._replace(name, data))

    async def read(self, name: str) -> bytes:
        """See `Disk.read`."""
        return await self._in_thread((self._folder / name).read_bytes)

    async def delete(self, name: str) -> None:
        """See `Disk.delete`."""
        self._close(name)
        (self._folder / name).unlink(missing_ok=True)

    async def sizes(self) -> dict[str, int]:
        """See `Disk.sizes`."""
        files = (path for path in self._folder.iterdir() if path.is_file())
        return {path.name: path.stat().st_size for path in sorted(files)}

    async def free_bytes(self) -> int:
        """See `Disk.free_bytes`."""
        room = os.statvfs(self._folder)
        return room.f_bavail * room.f_frsize

    def close(self) -> None:
        """Let go of the open files."""
        for name in list(self._open):
            self._close(name)
        self._threads.shutdown(wait=True)

    def _sync(self, name: str) -> None:
        fd = self._open.get(name)
        if fd is None:  # written by another process
            sync_file(self._folder / name)
            return
        os.fdatasync(fd)
        if name in self._nameless:
            sync_folder(self._folder)
            del self._nameless[name]

    def _replace(self, name: str, data: bytes) -> None:
        fresh = self._folder / f"{name}.new"
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._folder / name)
        sync_folder(self._folder)

    def _close(self, name: str) -> None:
        self._nameless.pop(name, None)
        fd = self._open.pop(name, None)
        if fd is not None:
            os.close(fd)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def sync_file(path: Path) -> None:
    """Make a file's bytes survive a loss of power. Raises FileNotFoundError."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power: created and renamed files need it, not only their bytes."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
