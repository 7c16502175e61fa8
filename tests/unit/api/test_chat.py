"""The chat of the command line: answers are shown once, slash commands show memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from repertory.api.facade import Blocking
from repertory.api.replies import Event
from repertory.cli.chat import Chat, _Printer


def lines(*texts: str) -> Callable[[], str]:
    """What a person types, and then the end of input."""
    left: Iterator[str] = iter(texts)

    def read() -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return read


def test_a_chat_answers_and_shows_the_agents_memory(plain: Blocking, capsys: pytest.CaptureFixture[str]) -> None:
    ada = plain.create_agent("ada")
    Chat(ada, read=lines(
        "Remember that the boat leaves at nine.", "When does the boat leave?", "/memory", "/search boat", "/archive",
        "/context", "/history", "/help", "/fly", "/quit", "never read")).run()
    shown = capsys.readouterr().out
    assert "nine" in shown
    assert "persona" in shown
    assert "what for? /archive WORDS" in shown
    assert "tokens:" in shown
    assert "there is no /fly" in shown
    assert "never read" not in shown


def test_an_error_does_not_end_the_chat(plain: Blocking, capsys: pytest.CaptureFixture[str]) -> None:
    ada = plain.create_agent("ada")
    ada.delete()
    Chat(ada, read=lines("Hello", "/help")).run()
    captured = capsys.readouterr()
    assert "error:" in captured.err
    assert "/memory" in captured.out


def event(number: int, kind: str, text: str = "", **data: object) -> Event:
    return Event(number=number, kind=kind, text=text, data=data)  # type: ignore[arg-type]  # kinds are given as text


def test_words_that_were_streamed_are_not_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    printer = _Printer()
    for one in (
        event(1, "call", '{"mess', piece=True, name="send_message", index=0),
        event(2, "call", 'age": "Hello Kim"}', piece=True, name="", index=0),
        event(3, "call", "send_message(message='Hello Kim')", name="send_message"),
        event(4, "result", "None", name="send_message"),
        event(5, "said", "Hello Kim"),
        event(6, "said", "And goodbye"),
        event(7, "end"),
    ):
        printer.show(one)
    assert capsys.readouterr().out.split("\n") == ["Hello Kim", "And goodbye", ""]
