"""The same interface without `await`: for scripts, notebooks and anything else that is not async.

There is no synchronous twin of any class. One generic wrapper runs the coroutines of whatever it wraps on an event
loop in a thread of its own, so it also works where a loop is running already (a notebook's cell).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

#: seconds that closing waits for what is still under way on the loop
CLOSING_S = 10.0


class LoopThread:
    """An event loop that runs in its own thread until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="repertory", daemon=True)
        self._thread.start()

    def run(self, work: Awaitable[Any]) -> Any:
        """Wait for `work` in the calling thread; interrupting the wait (Ctrl-C) cancels the work."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a synchronous call was made from within the facade's own loop: use the async interface")
        future = asyncio.run_coroutine_threadsafe(_awaited(work), self._loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                concurrent.futures.wait((future,), timeout=CLOSING_S)
            raise

    def close(self) -> None:
        """End what is under way, then the thread. Closing twice is fine."""
        if not self._thread.is_alive():
            return
        self.run(self._cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSING_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _cancel_all(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=CLOSING_S)
        await self._loop.shutdown_asyncgens()


class Blocking:
    """Wraps an object of the async interface: its coroutines become plain calls, its async iterators plain ones.

    Attributes and methods are those of the wrapped object, and what they return is wrapped in turn where it has
    coroutines itself. Use `help(type(x.wrapped))` to read about them.
    """

    def __init__(self, wrapped: Any, loop: LoopThread, on_exit: Callable[[], None] = lambda: None) -> None:
        """`on_exit` is called when a `with` block over this object ends."""
        self.wrapped = wrapped
        self._loop = loop
        self._on_exit = on_exit

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.wrapped, name)
        return self._method(value) if inspect.isroutine(value) else self._result(value)

    def __dir__(self) -> list[str]:
        return dir(self.wrapped)

    def __repr__(self) -> str:
        return f"Blocking({self.wrapped!r})"

    def __enter__(self) -> Blocking:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the wrapped object, if it can be closed, and what it stands on."""
        try:
            if hasattr(self.wrapped, "close"):
                self._loop.run(self.wrapped.close())
        finally:
            self._on_exit()

    def _method(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._result(method(*map(_bare, args), **{key: _bare(value) for key, value in kwargs.items()}))

        call.__name__, call.__doc__ = method.__name__, method.__doc__
        return call

    def _result(self, value: Any) -> Any:
        if inspect.isawaitable(value):
            return self._result(self._loop.run(value))
        if isinstance(value, AsyncIterator):
            return self._iterate(value)
        if isinstance(value, list | tuple) and type(value) in (list, tuple):
            return type(value)(self._result(item) for item in value)
        if type(value) is dict:
            return {key: self._result(item) for key, item in value.items()}
        return Blocking(value, self._loop) if _has_coroutines(type(value)) else value

    def _iterate(self, source: AsyncIterator[Any]) -> Iterator[Any]:
        end = object()
        try:
            while (item := self._loop.run(_next(source, end))) is not end:
                yield self._result(item)
        finally:
            if inspect.isasyncgen(source):
                self._loop.run(source.aclose())


def blocking(make: Callable[[], Awaitable[Any]]) -> Blocking:
    """What `make` gives, wrapped, on a loop of its own that lives until it is closed."""
    loop = LoopThread()
    try:
        return Blocking(loop.run(make()), loop, on_exit=loop.close)
    except BaseException:
        loop.close()
        raise


def _bare(value: Any) -> Any:
    return value.wrapped if isinstance(value, Blocking) else value


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


async def _next(source: AsyncIterator[Any], end: object) -> Any:
    return await anext(source, end)


def _has_coroutines(kind: type) -> bool:
    if not kind.__module__.startswith("repertory."):
        return False
    return any(
        inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)
        for name, member in inspect.getmembers(kind) if not name.startswith("_")
    )


