"""An inbox takes so many messages and no more (P1): who is refused sees it, and a retry is never refused."""

from __future__ import annotations

import pytest

from repertory.errors import InboxFull
from repertory.memory.index import INBOX_BOUND
from repertory.memory.journal import CLAIM, Commit, NewRow
from repertory.memory.volatile import VolatileStore


def note(number: int) -> Commit:
    row = NewRow(stream="inbox:a", kind="message", data={"run_id": f"run-{number}", "text": "hello"})
    return Commit(op_id=f"client:c/{number}", author="client:c", rows=(row,))


async def full_store() -> VolatileStore:
    store = VolatileStore(now=lambda: 1.0)
    claim = NewRow(stream="author:directory", kind="activated")
    epoch = (await store.commit(Commit(op_id="claim", author="directory", epoch=CLAIM, rows=(claim,)))).epoch
    agent = NewRow(stream="registry", kind="agent_created", data={"id": "a", "name": "a", "tags": [], "spec": {}})
    await store.commit(Commit(op_id="create", author="directory", epoch=epoch, rows=(agent,)))
    for number in range(INBOX_BOUND):
        await store.commit(note(number))
    return store


async def test_a_full_inbox_refuses_the_next_message_and_writes_nothing():
    store = await full_store()
    with pytest.raises(InboxFull, match="a has 1000 messages waiting"):
        await store.commit(note(INBOX_BOUND))
    assert len(await store.read("inbox:a", limit=2 * INBOX_BOUND)) == INBOX_BOUND


async def test_a_message_that_is_kept_already_is_acknowledged_again_however_full_the_inbox_is():
    store = await full_store()
    assert (await store.commit(note(3))).replayed


async def test_a_place_that_was_kept_is_there_when_the_message_comes():
    store = await full_store()
    consumed = NewRow(stream="agent:a", kind="activated", data={"consumed": [(await store.read("inbox:a"))[0].seq]})
    await store.commit(Commit(op_id="activate", author="agent:a", epoch=CLAIM, rows=(consumed,)))
    await store.ask("reserve", agent_id="a", op_id=note(INBOX_BOUND).op_id)
    with pytest.raises(InboxFull):
        await store.commit(note(INBOX_BOUND + 1))
    await store.commit(note(INBOX_BOUND))
