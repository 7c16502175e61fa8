"""Being in a Ray cluster: an existing one, or one of our own on this machine.

Starting one is the part of Ray that fails on a machine under load: its raylet gives its helpers 15 seconds to say on
which ports they listen, and dies if they do not (measured with ray 2.60: two of three starts on two busy cores). So
the ports are chosen here, where Ray then waits for nobody, and two helpers that we have no use for are left out.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import logging
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray._private import parameter, worker
from ray._private.authentication import authentication_token_setup as token_setup

from repertory.actors.shell import is_secret
from repertory.errors import ConfigError, OutcomeUnknown

_log = logging.getLogger(__name__)

#: tries of starting Ray
TRIES = 3
#: seconds to wait for another program that is starting Ray; then it is tried all the same
TURN_S = 120.0
#: bytes of Ray's object store: our messages are small and travel inside the calls
OBJECT_STORE_BYTES = 100_000_000
#: ports of Ray's helpers, and helpers that are not needed: no logs are sent to drivers, nothing is scaled by itself
_PORTS = ("metrics_agent_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
_LEFT_OUT = {"no_monitor": True, "include_log_monitor": False}


async def connect(address: str | None) -> bool:
    """Be in the Ray cluster at `host:port`, or in a new one of our own; whether this call has brought us there.

    Raises ConfigError when this program is in another cluster, OutcomeUnknown when Ray does not start.
    """
    if ray.is_initialized():
        here = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", here):
            raise ConfigError(f"this program is in the Ray cluster {here}, and the database is run by {address}: "
                              "leave the first one (ray.shutdown), or use another program")
        return False
    _keep_off_standard_output()
    if address is None:
        with _without_secrets():
            await asyncio.to_thread(_start)
    else:
        await asyncio.to_thread(_join, address)
    return True


def _keep_off_standard_output() -> None:
    """Ray prints what it has to say of other processes on our standard output, where it would spoil ours: log it."""
    module: Any = worker
    if hasattr(module, "print_to_stdstream"):
        module.print_to_stdstream = _log_message


def _log_message(message: Mapping[str, Any], **_options: Any) -> None:
    for line in message["lines"]:
        _log.info("%s: %s", message.get("pid", "ray"), line)


def _join(address: str) -> None:
    # a local cluster asks for the token in the user's home, and an explicit address does not make Ray look there
    logging.getLogger(token_setup.__name__).setLevel(logging.ERROR)
    token_setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    ray.init(address, logging_level=logging.ERROR, log_to_driver=False)


def _start() -> None:
    with _in_turn():
        _start_alone()


@contextmanager
def _in_turn() -> Iterator[None]:
    """One start on this machine at a time: two at once slow each other down so much that both may fail."""
    path = Path(tempfile.gettempdir()) / f"repertory-{os.getuid()}-ray-start.lock"
    deadline = time.monotonic() + TURN_S
    with path.open("w") as file:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.1)
        yield


def _start_alone() -> None:
    before = _children()
    for left in reversed(range(TRIES)):
        try:
            with _own_parameters() as metrics_port:
                ray.init("local", include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False,
                         object_store_memory=OBJECT_STORE_BYTES, _metrics_export_port=metrics_port)
        except Exception as error:  # Ray raises nothing narrower
            for pid in sorted(_children() - before):
                with suppress(ProcessLookupError):  # Ray leaves what it has started so far
                    os.kill(pid, signal.SIGKILL)
            if not left:
                raise OutcomeUnknown(f"Ray did not start: {error}") from error
        else:
            # Ray writes the key to this cluster for all to read
            with suppress(OSError):
                (Path.home() / ".ray" / "auth_token").chmod(0o600)
            return


@contextmanager
def _own_parameters() -> Iterator[int]:
    """The port of metrics; and meanwhile those parameters that `ray.init` has no arguments for.

    Another version of Ray, which does not know them, starts in its own way.
    """
    module: Any = parameter
    original = module.RayParams
    with ExitStack() as sockets:
        metrics_port, *others = _free_ports(sockets, 1 + len(_PORTS))
    ports = dict(zip(_PORTS, others, strict=True))
    try:
        original(**ports, **_LEFT_OUT)
    except TypeError:
        yield metrics_port
        return
    module.RayParams = functools.partial(original, **ports, **_LEFT_OUT)
    try:
        yield metrics_port
    finally:
        module.RayParams = original


def _free_ports(sockets: ExitStack, count: int) -> list[int]:
    """Different ports that are free now."""
    bound = [sockets.enter_context(socket.socket()) for _ in range(count)]
    for one in bound:
        one.bind(("", 0))
    return [one.getsockname()[1] for one in bound]


@contextmanager
def _without_secrets() -> Iterator[None]:
    """No keys in the environment for a while: the processes that are started meanwhile must not inherit them."""
    secrets = {name: value for name, value in os.environ.items() if is_secret(name)}
    for name in secrets:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(secrets)


def _children() -> set[int]:
    """The child processes of Ray that this process has; none are known where there is no /proc."""
    pids = [int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in _read(file).split()]
    return {pid for pid in pids if b"/ray/" in _read(Path(f"/proc/{pid}/cmdline"))}


def _read(file: Path) -> bytes:
    """A file of /proc; empty when its thread or process has ended meanwhile."""
    try:
        return file.read_bytes()
    except OSError:
        return b""
