import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from repertory.errors import ToolError
from repertory.tools.arguments import checked
from repertory.tools.schema import describe, parse_docstring
from repertory.tools.tool import Tool


class Place(BaseModel):
    """Where it is."""

    city: str
    title: str = ""


@dataclass
class Span:
    first: int
    last: int


def book(place: Place, nights: int, price: float = 9.5, breakfast: bool = True, guests: list[str] | None = None,
         room: Literal["single", "double"] = "single") -> str:
    """Book a hotel.

    It can be cancelled.

    Args:
        place: Where to stay.
        nights (int): How many nights,
            at least one.
        guests: Who comes.

    Returns:
        A number.
    """
    return ""


BOOK = Tool(name="book", description="", parameters=describe(book).parameters)


def test_a_function_is_described_by_its_signature_and_its_docstring():
    signature = describe(book)
    assert signature.name == "book"
    assert signature.description == "Book a hotel.\n\nIt can be cancelled."
    properties = signature.parameters["properties"]
    assert properties["nights"] == {"type": "integer", "description": "How many nights, at least one."}
    assert properties["price"] == {"type": "number", "default": 9.5}
    assert properties["guests"] == {"type": "array", "items": {"type": "string"}, "description": "Who comes."}
    assert properties["room"]["enum"] == ["single", "double"]
    assert signature.parameters["required"] == ["place", "nights"]


def test_a_model_as_argument_keeps_a_property_that_is_called_title_but_no_made_up_titles():
    definition = describe(book).parameters["$defs"]["Place"]
    assert set(definition["properties"]) == {"city", "title"}
    assert definition["properties"]["city"] == {"type": "string"}


def test_a_dataclass_and_a_function_without_a_docstring_can_be_described():
    def between(span: Span, extra: dict[str, Any]):
        raise NotImplementedError

    signature = describe(between)
    assert signature.description == ""
    assert "Span" in signature.parameters["$defs"]


def test_arguments_that_the_caller_fills_in_are_left_out():
    assert next(iter(describe(book, skip=2).parameters["properties"])) == "price"


def test_a_function_that_a_model_cannot_call_is_refused():
    def unnamed(*values: int): ...
    def untyped(value): ...

    with pytest.raises(ToolError, match="by name"):
        describe(unnamed)
    with pytest.raises(ToolError, match="'value' needs a type annotation"):
        describe(untyped)


def test_plain_types_are_described_alike_with_and_without_pydantic():
    def plain(a: str, b: int = 3, c: list[str] | None = None, d: Literal["x", "y"] = "x", e: float | None = None,
              f: list[list[bool]] = []):  # noqa: B006
        """Does it.

        Args:
            a: The first.
        """

    def with_another(a: str, g: dict[str, int], b: int = 3, c: list[str] | None = None, d: Literal["x", "y"] = "x",
                     e: float | None = None, f: list[list[bool]] = []):  # noqa: B006
        """Does it.

        Args:
            a: The first.
        """

    ours, theirs = describe(plain).parameters, describe(with_another).parameters
    del theirs["properties"]["g"]
    theirs["required"].remove("g")
    assert ours == theirs


def test_the_built_in_tools_are_described_without_pydantic():
    code = "import sys, repertory.tools.registry; assert 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_docstring_may_have_sections_in_any_order_and_arguments_with_types():
    text, words = parse_docstring("Does it.\n\nReturns:\n    x: none\n\nArgs:\n    a (int): one\n    b: two: three")
    assert text == "Does it."
    assert words == {"a": "one", "b": "two: three"}


def test_arguments_that_fit_are_taken_as_they_are():
    arguments = {"place": {"city": "Rome"}, "nights": 2, "guests": ["Ada"], "room": "double"}
    assert checked(BOOK, arguments) == arguments


def test_what_can_only_have_been_meant_one_way_is_put_right():
    arguments = {"place": '{"city": "Rome"}', "nights": " 2", "price": "3.5", "breakfast": "False", "guests": "Ada",
                 "room": "Double"}
    assert checked(BOOK, arguments) == {
        "place": {"city": "Rome"}, "nights": 2, "price": 3.5, "breakfast": False, "guests": ["Ada"], "room": "double",
    }
    assert checked(BOOK, {"place": {"city": "Rome"}, "nights": 2.0, "guests": '["Ada", "Bob"]'})["guests"] == [
        "Ada", "Bob"]


def test_null_for_an_optional_argument_means_that_it_is_left_out():
    assert checked(BOOK, {"place": {"city": "Rome"}, "nights": 2, "guests": None}) == {
        "place": {"city": "Rome"}, "nights": 2}


def test_a_refusal_names_every_mistake_and_says_what_is_expected():
    with pytest.raises(ToolError) as refusal:
        checked(BOOK, {"night": 2, "price": "cheap", "breakfast": 3, "room": "suite"})
    text = str(refusal.value)
    assert "unknown argument 'night' (did you mean 'nights'?)" in text
    assert "argument 'price' must be a number, not 'cheap'" in text
    assert "argument 'breakfast' must be true or false, not 3" in text
    assert "argument 'room' must be one of 'single', 'double', not 'suite'" in text
    assert "missing required argument 'place'; missing required argument 'nights'" in text
    assert "nights (integer, required)" in text
    assert "Call book again" in text


@pytest.mark.parametrize(("arguments", "mistake"), [
    ({"place": {}, "nights": 1}, "'place' lacks 'city'"),
    ({"place": {"city": 4}, "nights": True}, "'nights' must be an integer, not True"),
    ({"place": {"city": "x"}, "nights": 1, "guests": ["a", {}]}, "'guests', item 2 must be a string"),
    ({"place": "Rome", "nights": 1}, "'place' must be an object, not 'Rome'"),
    ({"place": {"city": "x"}, "nights": None}, "'nights' must be an integer, not None"),
    ({"place": {"city": "x"}, "nights": 1e400}, "'nights' must be an integer, not inf"),
])
def test_each_wrong_value_is_named_with_its_place(arguments, mistake):
    with pytest.raises(ToolError) as refusal:
        checked(BOOK, arguments)
    assert mistake in str(refusal.value)


def test_a_union_takes_the_value_as_it_stands_before_it_changes_it():
    tool = Tool(name="t", description="", parameters={"type": "object", "properties": {
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]}, "several": {"type": ["number", "null"]}}})
    assert checked(tool, {"either": "5"}) == {"either": "5"}
    assert checked(tool, {"either": 5}) == {"either": 5}
    assert checked(tool, {"several": "5"}) == {"several": 5.0}
    with pytest.raises(ToolError, match="integer or string"):
        checked(tool, {"either": []})


def test_a_tool_without_arguments_says_so_and_one_that_takes_any_takes_any():
    with pytest.raises(ToolError, match="takes no arguments"):
        checked(Tool(name="t", description=""), {"x": 1})
    open_tool = Tool(name="t", description="", parameters={"type": "object", "additionalProperties": True})
    assert checked(open_tool, {"x": 1}) == {"x": 1}
