"""Words are seen while the call that says them is still being written."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from repertory.cli.speech import Speech


def test_words_come_out_as_they_come_in() -> None:
    speech = Speech()
    assert speech.take('{"thinking": "greet", "mess') == ""
    assert speech.take('age": "Hel') == "Hel"
    assert speech.take('lo \\') == "lo "
    assert speech.take('"Kim\\u00') == '"Kim'
    assert speech.take('e4"') == "ä"
    assert speech.take(', "request_heartbeat": false}') == ""


@given(message=st.text(st.characters(exclude_categories=["Cs"])), ascii_only=st.booleans(), size=st.integers(1, 7))
def test_whatever_is_said_arrives_whole_however_it_is_cut(message: str, ascii_only: bool, size: int) -> None:
    raw = json.dumps({"message": message, "request_heartbeat": True}, ensure_ascii=ascii_only)
    speech = Speech()
    assert "".join(speech.take(raw[at : at + size]) for at in range(0, len(raw), size)) == message
