"""A simulated folder of files (`memory.disk.Disk`) that crashes, tears, fills up and fails as real ones do.

What a killed process has written survives it, since it lies in the page cache; a loss of power takes what was not
synced: all of it, its end, or a piece in its middle. After a failed sync the kernel believes the pages clean, so a
later sync of the same bytes says yes and does nothing. A deleted file may come back, an unsynced name may vanish.
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from .trace import Trace

#: room in bytes for everybody, when the disk is not made small on purpose
PLENTY_BYTES = 1 << 40
#: seconds that one operation takes at most, without faults
USUAL_OP_S = 0.002


@dataclass(kw_only=True)
class Wear:
    """How likely each fault is, for each operation."""

    write_error: float = 0.0
    sync_error: float = 0.0
    slow: float = 0.0
    slow_most_s: float = 2.0


class Crash:
    """Counts the moments at which a crash makes a difference, and strikes at the one that was chosen."""

    def __init__(self, strike: Callable[[str], None]) -> None:
        """`strike` kills the process that uses the disk, or turns the power off; it is told where."""
        self._strike = strike
        self.countdown: int | None = None
        self.moments = 0

    def due(self) -> bool:
        """Whether the crash comes at this moment."""
        self.moments += 1
        if self.countdown is None:
            return False
        self.countdown -= 1
        if self.countdown > 0:
            return False
        self.countdown = None
        return True

    async def strike(self, where: str) -> None:
        """Crash; never returns to the process that was using the disk."""
        self._strike(where)
        await asyncio.get_running_loop().create_future()

    async def moment(self, where: str) -> None:
        """A moment: crash here if it is the one."""
        if self.due():
            await self.strike(where)


@dataclass
class _File:
    cached: bytearray = field(default_factory=bytearray)
    #: what lies on the platter
    durable: bytearray = field(default_factory=bytearray)
    name_durable: bool = False
    #: up to here the kernel believes that the platter has it
    clean: int = 0


class SimDisk:
    """Satisfies `memory.disk.Disk`. Outlives the processes that use it."""

    def __init__(self, rng: random.Random, trace: Trace, crash: Crash, wear: Wear | None = None) -> None:
        self._rng = rng
        self._trace = trace
        self.crash = crash
        self.wear = wear or Wear()
        self.capacity_bytes = PLENTY_BYTES
        self.files: dict[str, _File] = {}
        #: deleted, and the folder not synced since: may come back
        self._ghosts: dict[str, _File] = {}

    async def append(self, name: str, data: bytes) -> None:
        """See `Disk.append`."""
        await self.crash.moment(f"before append to {name}")
        file = self.files.get(name)
        if file is None:
            file = self.files[name] = _File()
        if self.crash.due():
            file.cached += data[: self._rng.randrange(len(data) + 1)]
            await self.crash.strike(f"within append to {name}")
        if self.used_bytes() + len(data) > self.capacity_bytes:
            file.cached += data[: self._rng.randrange(len(data) + 1)]
            self._trace.fault("disk full", "disk", "no room to append %d bytes to %s", len(data), name)
            raise OSError(errno.ENOSPC, "No space left on device", name)
        if self.wear.write_error and self._rng.random() < self.wear.write_error:
            file.cached += data[: self._rng.randrange(len(data) + 1)]
            self._trace.fault("write error", "disk", "a write to %s fails half way", name)
            raise OSError(errno.EIO, "Input/output error", name)
        file.cached += data
        await self._pass(f"append to {name}")
        await self.crash.moment(f"after append to {name}")

    async def sync(self, name: str) -> None:
        """See `Disk.sync`."""
        await self.crash.moment(f"before sync of {name}")
        file = self.files.get(name)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        upto = len(file.cached)
        await self._pass(f"sync of {name}")
        if self.wear.sync_error and self._rng.random() < self.wear.sync_error:
            self._trace.fault("sync error", "disk", "the sync of %s fails", name)
            file.durable = self._torn(file.cached[:upto], file.durable, file.clean)
            file.clean = upto
            raise OSError(errno.EIO, "Input/output error", name)
        if self.crash.due():
            file.durable = self._torn(file.cached[:upto], file.durable, file.clean)
            file.clean = upto
            await self.crash.strike(f"within sync of {name}")
        if file.clean < upto:
            self._write_back(file, upto)
        file.name_durable = True
        self._ghosts.clear()
        await self.crash.moment(f"after sync of {name}")

    async def replace(self, name: str, data: bytes) -> None:
        """See `Disk.replace`."""
        await self.crash.moment(f"before replacing {name}")
        if self.used_bytes() + len(data) > self.capacity_bytes:
            self._trace.fault("disk full", "disk", "no room to replace %s", name)
            raise OSError(errno.ENOSPC, "No space left on device", name)
        if self.wear.write_error and self._rng.random() < self.wear.write_error:
            self._trace.fault("write error", "disk", "replacing %s fails", name)
            raise OSError(errno.EIO, "Input/output error", name)
        await self._pass(f"replacing {name}")
        if self.crash.due():
            part = _File(cached=bytearray(data[: self._rng.randrange(len(data) + 1)]))
            self.files[f"{name}.new"] = part
            await self.crash.strike(f"within replacing {name}")
        self.files.pop(f"{name}.new", None)
        self.files[name] = _File(cached=bytearray(data), durable=bytearray(data), name_durable=True, clean=len(data))
        self._ghosts.clear()
        await self.crash.moment(f"after replacing {name}")

    async def read(self, name: str) -> bytes:
        """See `Disk.read`."""
        await self._pass(f"read of {name}")
        file = self.files.get(name)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
        return bytes(file.cached)

    async def delete(self, name: str) -> None:
        """See `Disk.delete`."""
        await self.crash.moment(f"before deleting {name}")
        file = self.files.pop(name, None)
        if file is not None and file.name_durable:
            self._ghosts[name] = file
        await self.crash.moment(f"after deleting {name}")

    async def sizes(self) -> dict[str, int]:
        """See `Disk.sizes`."""
        return {name: len(self.files[name].cached) for name in sorted(self.files)}

    async def free_bytes(self) -> int:
        """See `Disk.free_bytes`."""
        return max(0, self.capacity_bytes - self.used_bytes())

    def used_bytes(self) -> int:
        """What all files take."""
        return sum(len(file.cached) for file in self.files.values())

    def lose_power(self) -> None:
        """All that was not synced is lost, wholly or in part; deleted files may come back."""
        rng = self._rng
        for name, file in self._ghosts.items():
            if name not in self.files and rng.random() < 0.5:
                self._trace.fault("deleted file back", "disk", "%s is there again", name)
                self.files[name] = file
        self._ghosts.clear()
        for name in list(self.files):
            file = self.files[name]
            if not file.name_durable and rng.random() < 0.5:
                del self.files[name]
                continue
            if file.cached != file.durable:
                file.cached = self._torn(file.cached, file.durable, file.clean)
                self._trace.fault("unsynced bytes lost", "disk", "%s now has %d bytes", name, len(file.cached))
            file.durable = bytearray(file.cached)
            file.clean, file.name_durable = len(file.cached), True

    def _torn(self, wanted: bytearray, durable: bytearray, clean: int) -> bytearray:
        """The platter's content after `wanted` was to be written over `durable` and was interrupted."""
        kept = bytearray(durable)
        fresh = wanted[clean:] if len(durable) >= clean else bytearray()
        fate = self._rng.randrange(4)
        if fate == 0 or not fresh:
            return kept
        part = fresh[: self._rng.randrange(1, len(fresh) + 1)]
        if fate == 2:  # the file has grown, but some of its pages were never written
            start = self._rng.randrange(len(part))
            part[start:] = bytes(len(part) - start)
        if fate == 3 and len(part) > 2:
            start = self._rng.randrange(len(part) - 1)
            end = self._rng.randrange(start + 1, len(part))
            part[start:end] = bytes(end - start)
        return kept + part

    def _write_back(self, file: _File, upto: int) -> None:
        if len(file.durable) >= file.clean:
            file.durable = file.durable[: file.clean] + file.cached[file.clean : upto]
        else:  # an earlier sync had failed: what it should have written is still missing, so there is a hole
            hole = bytes(file.clean - len(file.durable))
            file.durable = file.durable + hole + file.cached[file.clean : upto]
        file.clean = upto

    async def _pass(self, what: str) -> None:
        delay = self._rng.random() * USUAL_OP_S
        if self.wear.slow and self._rng.random() < self.wear.slow:
            delay += self._rng.random() * self.wear.slow_most_s
            self._trace.fault("slow disk", "disk", "%s takes %.3f s", what, delay)
        await asyncio.sleep(delay)
