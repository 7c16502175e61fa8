"""What machine a measurement was made on, so that a figure can be judged later."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from yardstick.timing import percentile

#: packages whose version changes what is measured
PACKAGES = ("repertory", "ray", "lancedb", "pylance", "openai", "uvicorn", "msgpack", "pydantic")


def facts() -> dict[str, Any]:
    """Processor, memory, disk, system, versions, and how busy the machine was before the run."""
    return {
        "at": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "sync_ms": round(sync_ms(), 3),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def sync_ms(times: int = 50) -> float:
    """The median of appending 512 bytes to a file and syncing it, in milliseconds: what durability costs here."""
    taken = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(times):
            begun = time.perf_counter()
            os.write(file.fileno(), b"x" * 512)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - begun) * 1e3)
    return percentile(taken, 50)


def unique_mib(pid: int) -> float:
    """The memory that would be free again if the process ended (USS), in MiB."""
    return float(psutil.Process(pid).memory_full_info().uss) / 2**20


def processor_ms() -> float:
    """The processor time that this process and all its descendants that live have used so far, in milliseconds."""
    taken = 0.0
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        try:
            used = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        taken += used.user + used.system
    return taken * 1e3


def folder_bytes(folder: Path) -> int:
    """What all files below `folder` occupy on the disk; files that vanish meanwhile count as nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512 if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
