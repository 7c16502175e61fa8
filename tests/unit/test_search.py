"""Search in recall and archival memory: the same answers from rows in memory, from LanceDB, and from both joined."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from diary import Diary, assistant, result, user
from hypothesis import given
from hypothesis import strategies as st

from repertory.errors import ModelError, NotFound
from repertory.memory.embeddings import HashedWords, cosine
from repertory.memory.filters import among, equals, has_any
from repertory.memory.lanceindex import LanceIndex
from repertory.memory.projections import FOLDER, Projections
from repertory.memory.projector import Projector
from repertory.memory.ranking import bm25, fused
from repertory.memory.reader import MemoryReader
from repertory.memory.search import Query
from repertory.memory.terms import query_terms, terms
from repertory.memory.volatile import VolatileStore
from repertory.messages import ToolCall

Told = Callable[[Diary], Awaitable[None]]
WAYS = ("rows", "tables", "joined")


class Library:
    """A store and readers of it, in three ways."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = VolatileStore(now=lambda: 1_000.0)
        self.diary = Diary(self.store)
        self.indexes: list[LanceIndex] = []

    async def project(self, *, embedder: HashedWords | None = None) -> None:
        """Carry all rows into the tables."""
        name, size = (embedder.name, embedder.size) if embedder else ("", 0)
        tables = Projections(self.folder / FOLDER, database_id="db-1", embedder=name, vector_size=size)
        projector = Projector(tables, self.store, embedder=embedder)
        await projector.catch_up()
        await projector.stop()

    def reader(self, way: str, *, embedder: HashedWords | None = None) -> MemoryReader:
        if way == "rows":
            return MemoryReader(self.store, embedder=embedder)
        name, size = (embedder.name, embedder.size) if embedder else ("", 0)
        self.indexes.append(LanceIndex(self.folder, embedder=name, vector_size=size))
        return MemoryReader(self.store, self.indexes[-1], embedder=embedder)

    async def read(self, way: str, *told: Told) -> MemoryReader:
        """A reader behind what was told; `joined`: only the first part of it is in the tables."""
        for number, tell in enumerate(told):
            await tell(self.diary)
            if way == "tables" and number == len(told) - 1:
                await self.project()
            if way == "joined" and number == 0:
                await self.project()
        return self.reader(way)


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Library]:
    made = Library(tmp_path)
    yield made
    for index in made.indexes:
        index.close()


async def talk(diary: Diary) -> None:
    ann, bob = await diary.agent("ann"), await diary.agent("bob")
    await diary.said(ann, user("m1", "My dog is called Rex.", at=10), assistant("m2", "What a fine dog!", at=11))
    await diary.said(bob, user("m1", "My dog is called Bello.", at=10))
    await diary.said(ann, user("m3", "The weather is fine in Oslo", at=86_400), conversation_id="travel")
    await diary.kept(ann, "p1", "Rex likes cheese", tags=("dog", "food"), at=20)
    await diary.kept(ann, "p2", "Oslo is cold", tags=("travel",), at=90_000)
    await diary.kept(bob, "p3", "Bello likes cheese", tags=("dog",), at=20)


async def more(diary: Diary) -> None:
    ann = "agent-ann"
    await diary.said(ann, assistant("m4", "", at=90_001, calls=(
        ToolCall(id="c", name="send_message", arguments={"message": "Rex should wear a coat in Oslo"}),)))
    await diary.said(ann, assistant("m5", "I look for Rex", at=90_002, calls=(
        ToolCall(id="c", name="conversation_search", arguments={"query": "Rex"}),)))
    await diary.said(ann, result("m6", "conversation_search", "Rex Rex Rex", at=90_003),
                     result("m7", "roll_dice", "a six for Rex", at=90_004))
    await diary.kept(ann, "p4", "Cheese is bad for dogs", tags=("dog", "food", "health"), at=90_100)
    await diary.dropped(ann, "p2")


def ids(hits: Sequence[object]) -> list[str]:
    return [hit.document.id for hit in hits]  # type: ignore[attr-defined]  # hits


@pytest.mark.parametrize("way", WAYS)
async def test_messages_are_found_by_their_words_and_only_in_their_agent(library: Library, way: str) -> None:
    reader = await library.read(way, talk, more)

    async def found(text: str, **wishes: object) -> list[str]:
        return ids(await reader.search(Query.of("messages", "agent-ann", text=text, **wishes)))

    assert await found("dogs") == ["m2", "m1"]
    assert await found("REX") == ["m1", "m4"], "neither a search's call nor its result, and no tool's result"
    assert await found("Rex", roles=["tool"]) == ["m7"]
    assert await found("Rex", roles=["assistant"]) == ["m4"]
    assert await found("Oslo", conversation_id="travel") == ["m3"]
    assert await found("Bello") == []
    assert await found("fine", limit=1) == ["m2"]
    assert await found("Oslo", start_at=86_400, end_at=86_400) == ["m3"]
    assert await found("Rex dog", end_at=10) == ["m1"]
    assert await found("") == ["m4", "m3", "m2", "m1"], "without words the newest come first"
    assert await found("", limit=2) == ["m4", "m3"]
    assert await found("?!") == []


@pytest.mark.parametrize("way", WAYS)
async def test_passages_are_found_by_words_tags_and_time_and_deleted_ones_are_gone(library: Library, way: str) -> None:
    reader = await library.read(way, talk, more)

    async def found(text: str, **wishes: object) -> list[str]:
        return ids(await reader.search(Query.of("passages", "agent-ann", text=text, **wishes)))

    assert await found("cheese") == ["p1", "p4"]
    assert await found("cheese", tags=["health", "travel"]) == ["p4"]
    assert await found("cheese", tags=["dog", "food"], match="all") == ["p1", "p4"]
    assert await found("cheese", tags=["dog", "health"], match="all") == ["p4"]
    assert await found("Oslo") == []
    assert await found("cheese", start_at=21) == ["p4"]


@pytest.mark.parametrize("way", WAYS)
async def test_lists_are_in_the_order_of_time_and_go_on_from_any_entry(library: Library, way: str) -> None:
    reader = await library.read(way, talk, more)
    ann = "agent-ann"

    async def page(**window: object) -> list[str]:
        return [d.id for d in await reader.page("messages", ann, **window)]  # type: ignore[arg-type]  # keywords

    assert await page() == ["m1", "m2", "m3", "m4", "m5", "m6", "m7"]
    assert await page(newest_first=True, limit=3) == ["m7", "m6", "m5"]
    assert await page(after="m2", limit=3) == ["m3", "m4", "m5"]
    assert await page(before="m6", newest_first=True, limit=3) == ["m5", "m4", "m3"]
    assert await page(after="m1", before="m3") == ["m2"]
    assert await page(conversation_id="travel") == ["m3"]
    assert [d.id for d in await reader.page("passages", ann, limit=2)] == ["p1", "p4"]
    with pytest.raises(NotFound, match="no message 'm99'"):
        await page(after="m99")


@pytest.mark.parametrize("way", WAYS)
async def test_an_agent_can_be_seen_as_it_was(library: Library, way: str) -> None:
    seqs: list[int] = []

    async def live(diary: Diary) -> None:
        ann = await diary.agent("ann")
        for number in range(4):
            seqs.append(await diary.said(ann, user(f"m{number}", f"text {number}")))
            if number % 2:
                await diary.snapshot(ann, seqs[-1])

    async def on(diary: Diary) -> None:
        seqs.append(await diary.said("agent-ann", user("m9", "more")))

    reader = await library.read(way, live, on)
    early = await reader.as_of("agent-ann", seqs[0])
    assert early.snapshot is None
    assert [row.seq for row in early.events][-1] == seqs[0]
    middle = await reader.as_of("agent-ann", seqs[2])
    assert middle.snapshot is not None
    assert middle.snapshot.data["upto"] == seqs[1]
    assert [row.seq for row in middle.events] == [seqs[2]]
    assert [row.kind for row in await reader.history("agent-ann", after=seqs[1], limit=2)] == ["edited", "edited"]


@pytest.mark.parametrize("way", WAYS)
async def test_words_and_meaning_are_joined_when_there_is_an_embedder(library: Library, way: str) -> None:
    embedder = HashedWords()
    await talk(library.diary)
    if way != "rows":
        await library.project(embedder=embedder)
    if way != "tables":
        await more(library.diary)
    else:
        await more(library.diary)
        await library.project(embedder=embedder)
    reader = library.reader(way, embedder=embedder)
    hits = await reader.search(Query.of("passages", "agent-ann", text="cheeses for my dog"))
    assert ids(hits) == ["p4", "p1"]
    assert hits[0].relevance["search_mode"] == "hybrid"
    assert hits[0].relevance["fts_rank"] == hits[0].relevance["vector_rank"] == 1
    misspelt = await reader.search(Query.of("messages", "agent-ann", text="wether"))
    assert ids(misspelt)[0] == "m3", "no word is the same, but most of its parts are"
    assert misspelt[0].relevance["search_mode"] == "vector"
    by_words = await reader.search(Query.of("messages", "agent-ann", text="wether", mode="lexical"))
    assert ids(by_words) == []


async def test_an_embedder_that_fails_or_hangs_leaves_the_search_by_words(library: Library) -> None:
    class Broken(HashedWords):
        async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
            raise ModelError("no")

    class Hung(HashedWords):
        async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
            raise TimeoutError

    await talk(library.diary)
    for embedder in (Broken(), Hung()):
        hits = await library.reader("rows", embedder=embedder).search(Query.of("messages", "agent-ann", text="Rex"))
        assert ids(hits) == ["m1"]
        assert hits[0].relevance["search_mode"] == "fts"


async def test_a_search_goes_to_the_journal_while_the_tables_cannot_be_read(library: Library) -> None:
    await talk(library.diary)
    reader = library.reader("tables")
    assert ids(await reader.search(Query.of("messages", "agent-ann", text="Rex"))) == ["m1"]
    await library.project()
    assert ids(await reader.search(Query.of("messages", "agent-ann", text="Rex"))) == ["m1"]
    for manifest in (library.folder / FOLDER).glob("*/messages.lance/_versions/*.manifest"):
        manifest.write_bytes(bytes(manifest.stat().st_size))
    assert ids(await reader.search(Query.of("messages", "agent-ann", text="Rex"))) == ["m1"]
    assert [d.id for d in await reader.page("messages", "agent-ann", limit=1)] == ["m1"]


NASTY = ["' OR ''='", "'; DROP TABLE messages; --", "a\\' OR 1=1 --", "\\", "''", "x' OR agent_id = 'agent-bob",
         "\u2019 OR 1=1", "ＯＲ", "\u202e'", "nul\0' OR 1=1", "%", "_", "line\nbreak'", "\"", "`", "$$", "/*", "🐕'"]


@pytest.mark.parametrize("way", ["rows", "tables"])
async def test_no_value_breaks_out_of_its_filter(library: Library, way: str) -> None:
    async def tell(diary: Diary) -> None:
        ann, bob = await diary.agent("ann"), await diary.agent("bob")
        await diary.kept(bob, "p0", "a secret of bob")
        await diary.said(bob, user("m0", "a secret of bob"))
        for number, nasty in enumerate(NASTY):
            await diary.kept(ann, f"p{number}-{nasty}", f"secret {number}", tags=(nasty,))
            await diary.said(ann, user(f"m{number}-{nasty}", f"text {number}"), conversation_id=nasty)

    reader = await library.read(way, tell)
    for number, nasty in enumerate(NASTY):
        for query in (Query.of("passages", "agent-ann", text="secret", tags=[nasty]),
                      Query.of("passages", "agent-ann", tags=[nasty], match="all"),
                      Query.of("messages", "agent-ann", conversation_id=nasty)):
            found = await reader.search(query)
            assert [hit.document.id[:len(str(number)) + 2] for hit in found] == [f"{query.source[0]}{number}-"]
            assert found[0].document.agent_id == "agent-ann"
        assert await reader.search(Query.of("messages", "agent-ann", text="text", roles=[nasty])) == []
        assert await reader.search(Query.of("messages", nasty, text="secret")) == []
        await reader.search(Query.of("messages", "agent-ann", text=nasty))
        after = await reader.page("passages", "agent-ann", after=f"p{number}-{nasty}", limit=1)
        assert [d.agent_id for d in after] == ["agent-ann"] * len(after)


@given(st.text())
def test_a_literal_ends_where_it_ends(value: str) -> None:
    if "\0" in value:
        with pytest.raises(ValueError, match="NUL"):
            equals("id", value)
        return
    quoted = equals("id", value).removeprefix("id = '")[:-1]
    assert "'" not in quoted.replace("''", "")
    assert quoted.replace("''", "'") == value
    assert among("id", [value]).startswith("id IN ('")
    assert has_any("tags", [value]).endswith("'])")


def test_terms_are_words_without_case_accents_and_plural() -> None:
    assert terms("Two DOGS, naïve café-owner's parties; Straße_7") == [
        "two", "dog", "naive", "cafe", "owner", "s", "party", "strasse", "7"]
    assert terms("犬の名前 Rex") == ["犬の", "の名", "名前", "rex"]
    assert terms("한국어 문장") == ["한국어", "문장"]
    assert query_terms("What is the name of my dog?") == ["name", "dog"]
    assert query_terms("who are you") == ["who", "are", "you"]
    assert [len(term) for term in terms("x" * 200)] == [64]


def test_rare_terms_and_short_texts_count_more() -> None:
    scores = bm25(["rare", "often"], [["often", "x"], ["rare", "x"], ["often", "often"], ["rare", "x", "x"], ["x"],
                                      ["often", "x"]], total=100)
    assert scores[1] > scores[0] > scores[4] == 0.0
    assert scores[2] > scores[0]
    assert scores[1] > scores[3] > 0.0
    assert bm25(["a"], []) == []


def test_fusion_prefers_what_both_rankings_have() -> None:
    scores = fused([{"a": 1, "b": 2}, {"b": 1, "c": 2}])
    assert sorted(scores, key=lambda key: -scores[key]) == ["b", "a", "c"]


async def test_the_hashed_embedder_finds_texts_that_share_parts_of_words() -> None:
    one, near, far, nothing = await HashedWords()(["the weather in Oslo", "wether oslo", "my dog likes cheese", "!"])
    assert cosine(one, near) > 0.3 > cosine(one, far)
    assert cosine(one, nothing) == 0.0


def test_an_unknown_wish_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no top_k"):
        Query.of("passages", "agent-ann", top_k=3)


async def test_searches_run_beside_each_other(library: Library) -> None:
    await talk(library.diary)
    await library.project()
    reader = library.reader("tables")
    found = await asyncio.gather(*(
        reader.search(Query.of("messages", "agent-ann", text=text)) for text in ("Rex", "dog", "Oslo") * 5))
    assert [ids(hits) for hits in found] == [["m1"], ["m2", "m1"], ["m3"]] * 5
