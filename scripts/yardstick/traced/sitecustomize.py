"""Stamps the times at which the functions of one message's way begin and end, in every process of a run.

Python imports a module of this name at its start, when its folder is on PYTHONPATH; so Ray's processes have it
without a line in the product. Stamps are taken with CLOCK_MONOTONIC, which all processes of a machine share, and are
appended to a file a process in the folder that YARDSTICK_TRACE names.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

FOLDER = os.environ.get("YARDSTICK_TRACE", "")
#: module -> functions in it
WATCHED = {
    "repertory.actors.callers": ("AgentCaller.ask",),
    "repertory.actors.shell": ("Shell.perform", "RayRef.call"),
    "repertory.actors.process": ("AgentProcess.call",),
    "repertory.actors.agent": ("Agent.ask", "Agent.commit"),
    "repertory.actors.prompting": ("Prompter.request",),
    "repertory.llm.openai": ("OpenAIProvider.answer",),
    "repertory.memory.durable": ("DurableStore.commit",),
    "repertory.memory.disk": ("LocalDisk.sync",),
    "openai._base_client": ("AsyncAPIClient.post",),
    "httpx": ("AsyncClient.send",),
    "httpx2": ("AsyncClient.send",),
}


class Stamps:
    """The stamps of this process: lines of name, detail, begin, end (seconds)."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, f"{os.getpid()}.stamps")
        self._lines: list[str] = []

    def put(self, name: str, detail: str, begun: float) -> None:
        """Keep one call; written in batches, so that writing is not what is measured."""
        self._lines.append(f"{name}\t{detail}\t{begun:.7f}\t{time.monotonic():.7f}\n")
        if len(self._lines) >= 64:
            self.write()

    def write(self) -> None:
        """Write what was kept."""
        lines, self._lines = self._lines, []
        with open(self._path, "a") as file:
            file.writelines(lines)


def stamped(function: Callable[..., Any], name: str, stamps: Stamps) -> Callable[..., Any]:
    """`function`, whose calls leave stamps. What is first a str of its arguments is the detail (a method's name)."""
    def detail(args: tuple[Any, ...]) -> str:
        return args[1] if len(args) > 1 and isinstance(args[1], str) else ""

    if inspect.iscoroutinefunction(function):
        @functools.wraps(function)
        async def wrapped_async(*args: Any, **kwargs: Any) -> Any:
            begun = time.monotonic()
            try:
                return await function(*args, **kwargs)
            finally:
                stamps.put(name, detail(args), begun)

        return wrapped_async

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        begun = time.monotonic()
        try:
            return function(*args, **kwargs)
        finally:
            stamps.put(name, detail(args), begun)

    return wrapped


class Finder(importlib.abc.MetaPathFinder):
    """Lets the usual finders find a module, and has its functions stamped once it is loaded."""

    def __init__(self, stamps: Stamps) -> None:
        self._stamps = stamps

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
                  ) -> importlib.machinery.ModuleSpec | None:
        """See `MetaPathFinder`."""
        if name not in WATCHED:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                self._prepare(spec.loader, name)
                return spec
        return None

    def _prepare(self, loader: Any, name: str) -> None:
        load = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            for path in WATCHED[name]:
                owner_name, _, function_name = path.partition(".")
                owner = getattr(module, owner_name, None)
                if owner is not None and hasattr(owner, function_name):
                    setattr(owner, function_name, stamped(getattr(owner, function_name), path, self._stamps))

        loader.exec_module = exec_module


if FOLDER:
    sys.meta_path.insert(0, Finder(Stamps(FOLDER)))
