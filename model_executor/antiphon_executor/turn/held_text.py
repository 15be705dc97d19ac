"""The text of choices that are held to a JSON schema: whether it is whole where the engine says so.

In: text as it comes. Out: nothing, or `InvalidRequest`. A grammar that fails inside of an answer allows
no token but the last, so vLLM says `stop` of a piece of JSON.
"""

from __future__ import annotations

import json
from collections import defaultdict

from antiphon_executor.interface.errors import InvalidRequest


class HeldText:
    """Of one turn. `param`: the client's field that has the schema."""

    def __init__(self, param: str) -> None:
        self._param = param
        self._pieces: defaultdict[int, list[str]] = defaultdict(list)

    def see(self, choice: int, text: str) -> None:
        self._pieces[choice].append(text)

    def check_whole(self, choice: int) -> None:
        """Raises InvalidRequest where the text is no whole JSON."""
        try:
            json.loads("".join(self._pieces[choice]), parse_int=float)
        except RecursionError:
            # Deeper than Python reads: nothing is known against it.
            return
        except ValueError:
            reason = "the JSON schema became too complex in the middle of the answer: send a simpler one"
            raise InvalidRequest(reason, self._param) from None
