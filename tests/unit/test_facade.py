"""The synchronous facade: the same objects, called without `await`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from repertory.api.facade import Blocking, blocking


class Singer:
    """A small object with the shapes that the interface has."""

    __module__ = "repertory.testing"

    def __init__(self, name: str = "Ada") -> None:
        self.name = name
        self.closed = False

    def __repr__(self) -> str:
        return f"Singer({self.name})"

    async def sing(self, times: int = 1) -> str:
        """Sing."""
        await asyncio.sleep(0)
        return "la " * times

    async def others(self) -> list[Singer]:
        return [Singer("Bo"), Singer("Cy")]

    async def duet(self, other: Singer) -> str:
        return f"{self.name} and {other.name}"

    async def notes(self) -> AsyncIterator[int]:
        for note in range(3):
            yield note

    async def fail(self) -> None:
        raise ValueError("off key")

    async def close(self) -> None:
        self.closed = True


async def make() -> Singer:
    return Singer()


@pytest.fixture
def singer() -> Iterator[Blocking]:
    with blocking(make) as wrapped:
        yield wrapped


def test_coroutines_are_plain_calls_and_attributes_are_themselves(singer: Blocking) -> None:
    assert singer.sing(times=2) == "la la "
    assert singer.name == "Ada"


def test_what_is_returned_is_wrapped_and_can_be_passed_back(singer: Blocking) -> None:
    bo, _ = singer.others()
    assert bo.sing() == "la "
    assert singer.duet(bo) == "Ada and Bo"


def test_async_iterators_are_plain_ones_and_may_be_left_early(singer: Blocking) -> None:
    assert list(singer.notes()) == [0, 1, 2]
    for note in singer.notes():
        assert note == 0
        break
    assert singer.sing() == "la "


def test_an_error_is_raised_where_the_call_was_made(singer: Blocking) -> None:
    with pytest.raises(ValueError, match="off key"):
        singer.fail()


def test_documentation_and_names_shine_through(singer: Blocking) -> None:
    assert singer.sing.__doc__ == "Sing."
    assert "duet" in dir(singer)
    assert "Ada" in repr(singer)


async def test_it_works_inside_a_running_loop() -> None:
    with blocking(make) as singer:
        assert singer.sing() == "la "
        assert list(singer.notes()) == [0, 1, 2]


def test_leaving_the_block_closes_the_object_and_ends_the_thread() -> None:
    before = threading.active_count()
    with blocking(make) as singer:
        inner = singer.wrapped
    assert inner.closed
    assert threading.active_count() == before


def test_a_failed_opening_leaves_no_thread() -> None:
    async def broken() -> Singer:
        raise OSError("no")

    before = threading.active_count()
    with pytest.raises(OSError, match="no"):
        blocking(broken)
    assert threading.active_count() == before
