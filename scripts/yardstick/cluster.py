"""A small Ray of our own for one run, quiet and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import ray

#: enough for what the largest benchmark puts there; the default takes a third of the memory
OBJECT_STORE_BYTES = 200 * 2**20


@contextlib.contextmanager
def local_ray() -> Iterator[None]:
    """Ray on this machine, without dashboard and without a word on standard output."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray starts its workers with a niceness of 15: on a machine that does anything else, the peer (a plain process)
    # would get the processor first, and we would compare schedulers
    os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR",
             object_store_memory=OBJECT_STORE_BYTES, configure_logging=False)
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def work_folder(root: Path) -> Iterator[Path]:
    """A folder under `root`/build on the same disk as a user's data would be; removed afterwards.

    /tmp may be in memory, where a sync costs nothing and every ratio would be a lie.
    """
    build = root / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build, prefix="bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
