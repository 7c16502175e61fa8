"""A supervisor and workers answer a question over documents, with the offline model and no Ray."""

import pytest
from stage import Stage

from repertory.errors import ConfigError
from repertory.groups.documents import Citation, Document, from_distributions, from_folder, is_true, parts, whole_name
from repertory.groups.map_reduce import Job, MapReduce, cited_in, divided, of_wholes, reported
from repertory.ids import derived
from repertory.memory.block import Append
from repertory.messages import Envelope

READING = ("report_findings", "archival_memory_insert", "archival_memory_search", "conversation_search")
LEADING = ("send_message_to_agents_matching_tags", "conversation_search")


class Party:
    def __init__(self, stage, agent):
        self.stage, self.agent, self.name = stage, agent, agent.id
        self.sent = []

    async def send(self, text, *, key):
        self.sent.append(key)
        envelope = Envelope(run_id=derived("run", self.name, key), message_id=derived("message", key), text=text)
        outcome = await self.agent.ask(envelope, f"{self.name}/{key}", 60.0)
        assert outcome.status == "completed", outcome
        return outcome


class Board:
    def __init__(self, stage, block_id):
        self.stage, self.block_id = stage, block_id

    async def text(self):
        return (await self.stage.blocks.read(self.block_id)).value

    async def append(self, text, *, key):
        return await self.stage.blocks.edit(self.block_id, Append(content=text), op_id=key, by="group")


def corpus():
    documents = [Document(name=f"doc{number}.md", text=f"This is about item {number}. Nothing else is said here.")
                 for number in range(12)]
    documents[7] = Document(name="doc7.md", text="Talle is a town. The bridge at Talle was designed by Ingrid Solberg.")
    return tuple(documents)


async def group_of(stage, workers=3):
    block = await stage.blocks.create("findings", limit_chars=100_000, op_id="board", by="test")
    shared = {"model": "offline/rules", "agent_type": "letta_v1", "shared": (block.block_id,)}
    boss = await stage.live(await stage.create("boss", tools=LEADING, **shared))
    members = [await stage.live(await stage.create(f"w{number}", tools=READING, tags=("worker",), **shared))
               for number in range(workers)]
    parties = [Party(stage, member) for member in members]
    board = Board(stage, block.block_id)
    return MapReduce(Party(stage, boss), parties, board), board, parties


async def test_the_answer_comes_from_the_one_document_that_has_it():
    stage = Stage([])
    group, board, workers = await group_of(stage)
    job = Job(question="Who designed the bridge at Talle?", documents=corpus())
    result = await group.run(job)
    assert result.citations[0] == Citation(
        document="doc7.md", sentence="The bridge at Talle was designed by Ingrid Solberg.")
    assert (result.done, result.documents) == (12, 12)
    lines = (await board.text()).split("\n")
    assert len([line for line in lines if line.startswith("[doc7.md]")]) == 1
    assert all(len(worker.sent) == 4 for worker in workers)


async def test_a_job_that_is_carried_out_again_reads_nothing_twice():
    stage = Stage([])
    group, board, _ = await group_of(stage)
    job = Job(question="Who designed the bridge at Talle?", documents=corpus())
    first = await group.run(job)
    before = await board.text()
    versions = len(await stage.blocks.history(board.block_id))
    assert await group.run(job) == first
    assert await board.text() == before
    assert len(await stage.blocks.history(board.block_id)) == versions


def test_a_supervisor_that_divides_badly_leaves_no_document_out():
    documents = corpus()
    shares = divided("1. doc0.md; doc1.md; nonsense\n9. doc2.md\n2. doc1.md", documents, ["a", "b"])
    assert sorted(document.name for share in shares.values() for document in share) == sorted(
        document.name for document in documents)
    assert [document.name for document in shares["a"]][:2] == ["doc0.md", "doc1.md"]


def test_citations_are_read_from_lines_and_looked_up():
    answer = "Here:\n- [doc7.md] The bridge at Talle was designed by Ingrid Solberg.\n[doc1.md] Invented."
    found = cited_in(answer)
    assert [is_true(citation, corpus()) for citation in found] == [True, False]
    assert reported("[a] —\n[b] one\n[b] two") == ["a", "b"]


def test_an_answer_names_whole_documents_and_says_nothing_twice():
    told = "Found:\n[a.md part 1 of 2] It is so.\n[a.md part 2 of 2] It is so\n- [b.md] Or not."
    assert of_wholes(told) == "Found:\n[a.md] It is so.\n[b.md] Or not."


def test_long_documents_are_read_in_parts_and_cited_as_wholes():
    long = Document(name="long.md", text="\n\n".join(f"Paragraph {number}. " + "word " * 200 for number in range(60)))
    pieces = parts([long])
    assert len(pieces) > 1
    assert "".join(piece.text for piece in pieces) == long.text
    assert {whole_name(piece.name) for piece in pieces} == {"long.md"}


def test_a_folder_without_text_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match="no text in"):
        from_folder(tmp_path)
    with pytest.raises(ConfigError, match="is no folder"):
        from_folder(tmp_path / "nowhere")
    (tmp_path / "a.md").write_text("Hello.")
    assert from_folder(tmp_path) == [Document(name="a.md", text="Hello.")]


def test_the_installed_distributions_are_a_corpus_everywhere():
    names = [document.name.lower() for document in from_distributions()]
    assert "pydantic" in names
    assert len(names) == len(set(names))
