"""Killing everything that a program has started: no signal that could be caught, no process left out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

MARK = "REPERTORY_ACCEPTANCE_MARK"


class Marked:
    """A program and all that comes of it, wherever it goes: they inherit a mark in their environment."""

    def __init__(self, arguments: list[str], **options: object) -> None:
        """Start `python ARGUMENTS`; `options` as for `subprocess.Popen`."""
        self._mark = uuid.uuid4().hex
        self.process: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]  # the caller's options
            [sys.executable, *arguments], env={**os.environ, MARK: self._mark}, stdin=subprocess.DEVNULL, text=True,
            **options)

    def pids(self) -> list[int]:
        """All processes that carry the mark and live."""
        wanted = f"{MARK}={self._mark}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if wanted in (entry / "environ").read_bytes() and b"\nState:\tZ" not in (
                            entry / "status").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def kill_everything(self, within_s: float = 60.0) -> int:
        """SIGKILL all of them until none is left; how many there were."""
        killed: set[int] = set()
        deadline = time.monotonic() + within_s
        while pids := self.pids():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                except ProcessLookupError:
                    continue
            assert time.monotonic() < deadline, f"processes that cannot be killed: {pids}"
            time.sleep(0.05)
        self.process.wait()
        return len(killed)
