"""Checks that an answer with a JSON schema is complete JSON if the engine reports that it ended normally.

A grammar that fails inside an answer allows only the end token, so vLLM reports `stop` for incomplete JSON.
"""

from __future__ import annotations

import json
from collections import defaultdict

from antiphon_executor.interface.errors import InvalidRequest


class JsonCheck:
    """The text of one request's choices. `param`: the request field that contained the schema."""

    def __init__(self, param: str) -> None:
        self._param = param
        self._pieces: defaultdict[int, list[str]] = defaultdict(list)

    def append(self, choice: int, text: str) -> None:
        self._pieces[choice].append(text)

    def require_complete(self, choice: int) -> None:
        """Raises InvalidRequest if the choice's text is not complete JSON."""
        try:
            json.loads("".join(self._pieces[choice]), parse_int=float)
        except RecursionError:
            # Nested deeper than Python can parse, so the text cannot be judged.
            return
        except ValueError:
            reason = "the JSON schema became too complex in the middle of the answer: send a simpler one"
            raise InvalidRequest(reason, self._param) from None
