"""What an agent says by `send_message`, while the model is still writing the call.

The arguments of a call arrive as pieces of JSON text. The value of `message` is read out of them as far as it goes, so
that a person sees words, not the end of a silence.
"""

from __future__ import annotations

import json
import re

_START = re.compile(r'"message"\s*:\s*"')
#: an escape that may not be complete yet: a lone backslash, a cut \uXXXX, or the first half of a surrogate pair
_CUT = re.compile(r"\\(u[0-9a-fA-F]{0,3})?$|\\u[dD][89abAB][0-9a-fA-F]{2}(\\(u[0-9a-fA-F]{0,3})?)?$")
_END = re.compile(r'(?:[^"\\]|\\.)*"', re.DOTALL)


class Speech:
    """Takes the pieces of one call's arguments."""

    def __init__(self) -> None:
        self._raw = ""
        self._told = 0

    def take(self, piece: str) -> str:
        """The words that this piece adds."""
        self._raw += piece
        start = _START.search(self._raw)
        if start is None:
            return ""
        body = self._raw[start.end():]
        end = _END.match(body)
        body = body[: end.end() - 1] if end else _CUT.sub("", body)
        try:
            said: str = json.loads(f'"{body}"', strict=False)
        except ValueError:
            return ""
        news, self._told = said[self._told:], max(self._told, len(said))
        return news
