import pytest

from repertory.errors import BlockError, BlockLimitExceeded, BlockReadOnly
from repertory.memory.block import Append, Block, Insert, Rewrite, Substitute
from repertory.memory.edits import apply_edit

TWO_LINES = Block(label="human", value="Name: Ada\nLikes: tea")


def test_append_adds_a_line_and_an_empty_block_gets_no_blank_one():
    assert apply_edit(TWO_LINES, Append(content="Age: 36")) == "Name: Ada\nLikes: tea\nAge: 36"
    assert apply_edit(Block(label="human"), Append(content="Age: 36")) == "Age: 36"


@pytest.mark.parametrize(("line", "expected"), [
    (0, "new\nName: Ada\nLikes: tea"),
    (1, "Name: Ada\nnew\nLikes: tea"),
    (2, "Name: Ada\nLikes: tea\nnew"),
    (-1, "Name: Ada\nLikes: tea\nnew"),
])
def test_insert_puts_text_behind_the_line_with_that_number(line, expected):
    assert apply_edit(TWO_LINES, Insert(text="new", line=line)) == expected


@pytest.mark.parametrize("line", [3, -2])
def test_insert_refuses_a_line_that_does_not_exist_and_names_the_range(line):
    with pytest.raises(BlockError, match=r"Invalid `insert_line` parameter: .*\[0, 2\]"):
        apply_edit(TWO_LINES, Insert(text="new", line=line))


def test_substitute_replaces_every_occurrence():
    block = Block(label="human", value="tea, more tea")
    assert apply_edit(block, Substitute(old="tea", new="coffee")) == "coffee, more coffee"


def test_substitute_says_that_the_old_content_is_missing():
    with pytest.raises(BlockError) as refusal:
        apply_edit(TWO_LINES, Substitute(old="Bob", new="Eve"))
    assert str(refusal.value) == "Old content 'Bob' not found in memory block 'human'"


def test_substitute_once_says_that_the_text_is_missing():
    with pytest.raises(BlockError) as refusal:
        apply_edit(TWO_LINES, Substitute(old="Bob", new="Eve", once=True))
    assert str(refusal.value) == (
        "No replacement was performed, old_string `Bob` did not appear verbatim in memory block with label `human`."
    )


def test_substitute_once_lists_the_lines_of_several_occurrences_also_of_a_text_of_two_lines():
    block = Block(label="notes", value="a\nb\nc\na\nb")
    with pytest.raises(BlockError, match=r"Multiple occurrences of old_string `a\nb` in lines \[1, 4\]"):
        apply_edit(block, Substitute(old="a\nb", new="x", once=True))


def test_substitute_once_finds_blanks_where_the_block_has_a_tab():
    block = Block(label="notes", value="key:\tvalue")
    assert apply_edit(block, Substitute(old="key:    value", new="gone", once=True)) == "gone"
    assert apply_edit(block, Substitute(old="value", new="other", once=True)) == "key:\tother"


@pytest.mark.parametrize("once", [True, False])
def test_an_empty_text_can_be_replaced_in_an_empty_block_only(once):
    assert apply_edit(Block(label="notes"), Substitute(old="", new="first", once=once)) == "first"
    with pytest.raises(BlockError, match="is empty"):
        apply_edit(TWO_LINES, Substitute(old="", new="x", once=once))


def test_rewrite_takes_the_new_value_without_null_characters():
    assert apply_edit(TWO_LINES, Rewrite(value="al\x00l new")) == "all new"


@pytest.mark.parametrize("edit", [Append(content="x"), Insert(text="x"), Substitute(old="Ada", new="x"),
                                  Rewrite(value="x")])
def test_a_read_only_block_refuses_every_edit(edit):
    with pytest.raises(BlockReadOnly) as refusal:
        apply_edit(Block(label="human", value="Ada", read_only=True), edit)
    assert str(refusal.value) == "Error This block is read-only and cannot be edited."


def test_an_edit_beyond_the_limit_states_count_and_limit_and_advises_the_archive_or_a_rethink():
    block = Block(label="human", value="12345", limit_chars=10)
    with pytest.raises(BlockLimitExceeded, match="12 characters.*limit is 10.*archival_memory_insert.*memory_rethink"
                       ) as refusal:
        apply_edit(block, Append(content="123456"))
    assert (refusal.value.chars, refusal.value.limit_chars) == (12, 10)
    assert apply_edit(block, Append(content="1234")) == "12345\n1234"


def test_a_block_that_is_too_long_already_may_be_shortened():
    block = Block(label="human", value="1234567890", limit_chars=5)
    assert apply_edit(block, Rewrite(value="12345678")) == "12345678"
    with pytest.raises(BlockLimitExceeded):
        apply_edit(block, Rewrite(value="abcdefghij"))
