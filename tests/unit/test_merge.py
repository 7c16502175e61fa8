from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repertory.memory.edits import lines_of
from repertory.memory.merge import merge, unified_diff

BASE = "one\ntwo\nthree\nfour"

#: few different lines, so that they meet; among them an empty one
LINES = st.lists(st.sampled_from(["", "a", "b", "c", "d"]), max_size=8).map("\n".join)
steadily = settings(derandomize=True, deadline=None, max_examples=150)


@pytest.mark.parametrize(("current", "proposed", "merged"), [
    ("ONE\ntwo\nthree\nfour", "one\ntwo\nthree\nFOUR", "ONE\ntwo\nthree\nFOUR"),
    ("ONE\ntwo\nthree\nfour", "one\nTWO\nthree\nfour", "ONE\nTWO\nthree\nfour"),
    ("two\nthree\nfour", "one\ntwo\nthree\nfour\nfive", "two\nthree\nfour\nfive"),
    ("one\ntwo\nthree\nfour\nfive", "one\ntwo\nthree\nfour\nsix", "one\ntwo\nthree\nfour\nfive\nsix"),
    ("one\nnew\ntwo\nthree\nfour", "one\nnew\ntwo\nthree\nfour", "one\nnew\ntwo\nthree\nfour"),
    ("one\nnew\ntwo\nthree\nfour", "one\nnew\nnewer\ntwo\nthree\nfour", "one\nnew\nnewer\ntwo\nthree\nfour"),
    ("one\nTWO\nthree\nfour", "one\nTWO\nthree\nfour\nfive", "one\nTWO\nthree\nfour\nfive"),
])
def test_changes_of_different_lines_are_both_made(current, proposed, merged):
    assert merge(BASE, current, proposed) == merged


@pytest.mark.parametrize(("current", "proposed"), [
    ("one\nTWO\nthree\nfour", "one\nzwei\nthree\nfour"),
    ("one\nthree\nfour", "one\nTWO\nthree\nfour"),
    ("one\nfour", "one\ntwo\nin between\nthree\nfour"),
])
def test_different_changes_of_the_same_line_conflict(current, proposed):
    assert merge(BASE, current, proposed) is None
    assert merge(BASE, proposed, current) is None


def test_both_may_fill_an_empty_text():
    assert merge("", "from one", "from the other") == "from one\nfrom the other"


def test_very_many_equal_lines_are_merged_or_refused_without_delay():
    base = "\n" * 20_000
    assert merge(base, base + "end", base) == base + "end"
    assert merge(base, "start" + base, "other" + base[:-3]) is None


def test_the_difference_names_both_versions_and_shows_the_lines():
    diff = unified_diff("a\nb", "a\nc", old_name="human (version 1)", new_name="human (version 2)")
    assert diff.splitlines()[:2] == ["--- human (version 1)", "+++ human (version 2)"]
    assert "-b" in diff
    assert "+c" in diff


@steadily
@given(LINES, LINES)
def test_a_change_of_one_side_only_is_taken_whole_and_the_same_change_of_both_once(base, changed):
    assert merge(base, changed, base) == changed
    assert merge(base, base, changed) == changed
    assert merge(base, changed, changed) == changed


@steadily
@given(LINES, LINES, LINES)
def test_both_orders_conflict_alike_and_give_the_same_lines(base, one, other):
    forth, back = merge(base, one, other), merge(base, other, one)
    assert (forth is None) == (back is None)
    if forth is not None and back is not None:
        assert Counter(forth.split("\n")) == Counter(back.split("\n"))
    assert merge(base, one, other) == forth


@steadily
@given(LINES, LINES, LINES)
def test_no_line_is_lost_that_a_side_added_or_that_nobody_removed(base, one, other):
    merged = merge(base, one, other)
    if not merged:
        # a conflict; or nothing, and a text of one empty line is nothing, too
        return
    had, kept = Counter(lines_of(base)), Counter(lines_of(merged))
    sides = [Counter(lines_of(one)), Counter(lines_of(other))]
    assert all(kept[line] for side in sides for line in side - had), "a line that a side added is lost"
    for line in had:
        if all(side[line] >= had[line] for side in sides):
            assert kept[line], "a line that nobody removed has vanished"


@steadily
@given(st.integers(0, 12), st.data())
def test_every_single_change_of_lines_that_differ_is_found_in_the_merge(length, data):
    base = [f"line {number}" for number in range(length)]
    sides, removed, added = [], set(), []
    for name in ("one", "other"):
        lines: list[str] = []
        for number, line in enumerate(base):
            match data.draw(st.sampled_from(["keep", "keep", "drop", "change", "add"])):
                case "keep":
                    lines.append(line)
                case "drop":
                    removed.add(line)
                case "change":
                    removed.add(line)
                    lines.append(f"{name} {number}")
                case "add":
                    lines += [line, f"{name} {number}"]
        added += [line for line in lines if line not in base]
        sides.append("\n".join(lines))
    merged = merge("\n".join(base), *sides)
    if merged is not None:
        expected = Counter(added) + Counter(line for line in base if line not in removed)
        assert Counter(merged.split("\n") if merged else []) == expected
