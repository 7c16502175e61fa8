import ast
import json
from typing import Any

import pytest

from repertory.errors import AgentNotFound, BlockError, BlockReadOnly, ToolError
from repertory.memory.agent_types import builtin_types
from repertory.memory.block import Block, Edit, Rewrite
from repertory.memory.edits import apply_edit
from repertory.tools.arguments import checked
from repertory.tools.registry import ToolRegistry, spec
from repertory.tools.tool import Answer, Tool, Wait

#: 2024-06-01 12:00 UTC
NOON = 1_717_243_200.0


class Agent:
    """An agent's context that keeps what tools do to it."""

    agent_id = "agent-1"
    now = NOON
    timezone = "Europe/Berlin"

    def __init__(self, *blocks: Block) -> None:
        self.blocks = {block.label: block for block in blocks}
        self.said: list[str] = []
        self.posted: list[tuple[str, str]] = []
        self.passages: list[tuple[str, tuple[str, ...]]] = []
        self.queries: list[tuple[str, dict[str, Any]]] = []
        self.edits: list[Edit] = []
        self.hits: list[dict[str, Any]] = []

    def block(self, label: str) -> Block:
        if label not in self.blocks:
            raise ToolError(f"Block field {label} does not exist")
        return self.blocks[label]

    async def edit(self, label: str, edit: Edit) -> str:
        block = self.block(label)
        value = apply_edit(block, edit)
        self.edits.append(edit)
        self.blocks[label] = Block(label=label, value=value, version=block.version)
        return value

    def create_block(self, block: Block) -> None:
        self.blocks[block.label] = block

    def say(self, text: str) -> None:
        self.said.append(text)

    async def post(self, agent_id: str, text: str) -> None:
        if agent_id == "agent-0":
            raise AgentNotFound
        self.posted.append((agent_id, text))

    def insert_passage(self, text: str, tags: tuple[str, ...]) -> None:
        self.passages.append((text, tags))

    async def search(self, what: str, **query: Any) -> list[dict[str, Any]]:
        self.queries.append((what, query))
        return self.hits

    async def agents_with_tags(self, match_all: tuple[str, ...], match_any: tuple[str, ...]) -> list[str]:
        return ["agent-2", "agent-3"] if "crew" in match_all else []


async def call(agent: Agent, name: str, **arguments: Any) -> Any:
    tool = ToolRegistry.with_builtins().get(name)
    assert tool.function is not None
    return await tool.function(agent, checked(tool, arguments))


def human(value: str = "Name: Ada", **more: Any) -> Agent:
    return Agent(Block(label="human", value=value, **more))


async def test_core_memory_tools_answer_with_the_new_value():
    agent = human()
    assert await call(agent, "core_memory_append", label="human", content="Age: 36") == "Name: Ada\nAge: 36"
    assert await call(agent, "core_memory_replace", label="human", old_content="Ada", new_content="Eve") == (
        "Name: Eve\nAge: 36")
    with pytest.raises(BlockError, match="Old content 'Bob' not found in memory block 'human'"):
        await call(agent, "core_memory_replace", label="human", old_content="Bob", new_content="Eve")
    with pytest.raises(ToolError, match="Block field persona does not exist"):
        await call(agent, "core_memory_append", label="persona", content="x")


async def test_memory_tools_answer_with_the_new_value():
    agent = human()
    assert await call(agent, "memory_insert", label="human", new_string="first", insert_line="0") == "first\nName: Ada"
    assert await call(agent, "memory_insert", label="human", new_string="last") == "first\nName: Ada\nlast"
    assert await call(agent, "memory_replace", label="human", old_string="first\n", new_string="") == "Name: Ada\nlast"
    assert await call(agent, "memory_rethink", label="human", new_memory="all new") == "all new"


async def test_a_rethink_names_the_version_that_was_read_and_makes_a_block_that_is_missing():
    agent = human(version=7)
    await call(agent, "memory_rethink", label="human", new_memory="new")
    assert agent.edits == [Rewrite(value="new", base_version=7)]
    assert await call(agent, "memory_rethink", label="plan", new_memory="step one") == "step one"
    assert agent.blocks["plan"].value == "step one"


@pytest.mark.parametrize(("name", "arguments"), [
    ("memory_insert", {"new_string": "1→ Name"}),
    ("memory_replace", {"old_string": "Line 1: Name", "new_string": "x"}),
    ("memory_replace", {"old_string": "Name", "new_string": "a\n2→ b"}),
    ("memory_rethink", {"new_memory": " 3→ c"}),
])
async def test_line_numbers_are_refused(name, arguments):
    with pytest.raises(ToolError, match="contains a line number prefix"):
        await call(human(), name, label="human", **arguments)


async def test_a_read_only_block_is_not_edited_by_any_tool():
    agent = human(read_only=True)
    for name, arguments in {
        "core_memory_append": {"content": "x"}, "memory_insert": {"new_string": "x"},
        "core_memory_replace": {"old_content": "Ada", "new_content": "x"}, "memory_rethink": {"new_memory": "x"},
        "memory_replace": {"old_string": "Ada", "new_string": "x"}, "memory_apply_patch": {"patch": "+x"},
    }.items():
        with pytest.raises(BlockReadOnly, match="Error This block is read-only and cannot be edited"):
            await call(agent, name, label="human", **arguments)


async def test_a_patch_makes_several_changes_and_is_refused_as_a_whole():
    agent = human("one\ntwo\nthree\nfour")
    patch = " one\n-two\n+TWO\n@@\n-four\n+FOUR\n+five"
    assert await call(agent, "memory_apply_patch", label="human", patch=patch) == "one\nTWO\nthree\nFOUR\nfive"
    with pytest.raises(ToolError, match=r"Hunk 2 .* do not occur"):
        await call(agent, "memory_apply_patch", label="human", patch="-one\n@@\n-nine")
    with pytest.raises(ToolError, match="without a mark"):
        await call(agent, "memory_apply_patch", label="human", patch="one")
    with pytest.raises(ToolError, match="changes nothing"):
        await call(agent, "memory_apply_patch", label="human", patch=" one")
    assert agent.blocks["human"].value == "one\nTWO\nthree\nFOUR\nfive"
    assert await call(human("a\na"), "memory_apply_patch", label="human", patch="+b") == "a\na\nb"
    with pytest.raises(ToolError, match="occur 2 times"):
        await call(human("a\na"), "memory_apply_patch", label="human", patch="-a")


async def test_conversation_search_shows_time_role_and_content_without_tool_results():
    agent = human()
    agent.hits = [{"role": "user", "text": "I like tea", "at": NOON - 7_200, "relevance": {"rrf_score": 0.5}},
                  {"role": "tool", "text": "noise", "at": NOON}, {"role": "assistant", "text": "", "at": NOON}]
    found = json.loads(await call(agent, "conversation_search", query="tea"))
    assert found == {"message": "Showing 1 results:", "results": [
        {"timestamp": "2024-06-01T12:00:00+02:00", "time_ago": "2h ago", "role": "user",
         "relevance": {"rrf_score": 0.5}, "content": "I like tea"}]}
    assert agent.queries == [("messages", {"text": "tea", "roles": ["assistant", "user"], "start_at": None,
                                           "end_at": None, "limit": 5})]


async def test_conversation_search_takes_dates_in_the_agents_time_zone_and_a_bare_end_date_includes_its_day():
    agent = human()
    found = await call(agent, "conversation_search", start_date="2024-06-01", end_date="2024-06-01", roles=["user"])
    assert json.loads(found) == {"message": "No results found.", "results": []}
    query = agent.queries[0][1]
    assert (query["start_at"], query["end_at"]) == (NOON - 14 * 3600, pytest.approx(NOON + 10 * 3600, abs=1))
    assert await call(agent, "conversation_search", query="x", roles=["tool"])
    assert len(agent.queries) == 1
    with pytest.raises(ToolError, match="Invalid start_date format: yesterday"):
        await call(agent, "conversation_search", start_date="yesterday")


async def test_archival_memory_keeps_passages_and_finds_them():
    agent = human()
    assert await call(agent, "archival_memory_insert", content="Ada was born in 1815", tags=["facts"]) == "None"
    assert agent.passages == [("Ada was born in 1815", ("facts",))]
    agent.hits = [{"id": "passage-1", "text": "Ada was born in 1815", "tags": ["facts"], "at": NOON}]
    found = await call(agent, "archival_memory_search", query="Ada", tags=["facts"], tag_match_mode="all", top_k=500)
    assert json.loads(found) == [{"id": "passage-1", "timestamp": "2024-06-01T14:00:00+02:00",
                                  "content": "Ada was born in 1815", "tags": ["facts"]}]
    assert agent.queries == [("passages", {"text": "Ada", "tags": ["facts"], "match": "all", "start_at": None,
                                           "end_at": None, "limit": 50})]
    assert await call(agent, "archival_memory_search", query="  ") == "[]"


async def test_send_message_reaches_whoever_wrote():
    agent = human()
    assert await call(agent, "send_message", message="hello") == "Sent message successfully."
    assert agent.said == ["hello"]


async def test_an_async_message_goes_to_the_other_agent_and_says_where_it_comes_from():
    agent = human()
    sent = await call(agent, "send_message_to_agent_async", message="hello", other_agent_id="agent-2")
    assert sent == "Successfully sent message"
    [(receiver, text)] = agent.posted
    assert receiver == "agent-2"
    assert text.startswith("[Incoming message from agent with ID 'agent-1'")
    assert text.endswith("] hello")
    with pytest.raises(AgentNotFound):
        await call(agent, "send_message_to_agent_async", message="hello", other_agent_id="agent-0")


async def test_waiting_for_a_reply_rests_the_turn_and_gives_the_answer_as_result():
    wait = await call(human(), "send_message_to_agent_and_wait_for_reply", message="why?", other_agent_id="agent-2")
    assert isinstance(wait, Wait)
    assert wait.questions[0].agent_id == "agent-2"
    assert wait.questions[0].text == (
        "[Incoming message from agent with ID 'agent-1' - your response will be delivered to the sender] why?")
    answered = wait.combine((Answer(agent_id="agent-2", texts=("because", "of it")),))
    assert ast.literal_eval(answered) == {"agent_id": "agent-2", "response": ["because", "of it"]}
    assert "<no response>" in wait.combine((Answer(agent_id="agent-2"),))
    with pytest.raises(ToolError, match="yourself"):
        await call(human(), "send_message_to_agent_and_wait_for_reply", message="why?", other_agent_id="agent-1")


async def test_a_message_by_tags_names_who_answered_and_who_did_not():
    wait = await call(human(), "send_message_to_agents_matching_tags", message="hi", match_all=["crew"], match_some=[])
    assert [question.agent_id for question in wait.questions] == ["agent-2", "agent-3"]
    told = wait.combine((Answer(agent_id="agent-2", texts=("aye",)), Answer(agent_id="agent-3", error="late")))
    assert ast.literal_eval(told) == [{"agent_id": "agent-2", "response": ["aye"]},
                                      {"agent_id": "agent-3", "response": ["<error: late>"]}]
    nobody = await call(human(), "send_message_to_agents_matching_tags", message="hi", match_all=[], match_some=[])
    assert nobody == "[]"


def test_the_tools_of_every_agent_type_exist_and_each_tool_is_described_to_the_model():
    registry = ToolRegistry.with_builtins()
    for kind in builtin_types().values():
        assert [tool.name for tool in registry.choose(kind.tools)] == list(kind.tools)
    for tool in registry.choose(registry.names()):
        shown = spec(tool)
        assert shown.description
        assert all(prop.get("description") for prop in shown.parameters["properties"].values()), tool.name


def test_a_registry_keeps_one_tool_a_name():
    mine = Tool(name="mine", description="", source="def mine(): ...")
    registry = ToolRegistry.with_builtins([mine])
    registry.add(mine)
    assert registry.get("mine") is mine
    with pytest.raises(ToolError, match="another tool named 'send_message'"):
        registry.add(Tool(name="send_message", description=""))
    with pytest.raises(ToolError, match="no tool named 'lost'"):
        registry.get("lost")
