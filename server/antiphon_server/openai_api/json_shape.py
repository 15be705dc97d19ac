"""Counter of the depth and the values of a JSON body while it arrives, before it is parsed.

It does not validate: a body that is not JSON passes here and fails in the parser.
"""

from __future__ import annotations

import re

from antiphon_server.errors import BadRequest

_STRUCTURE = re.compile(rb'["\[\]{},]')
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


class JsonShape:
    """Counts nesting and values. A regular expression skips strings, which may be base64 media."""

    def __init__(self, depth: int, nodes: int) -> None:
        self._depth_limit = depth
        self._node_limit = nodes
        self._depth = 0
        self._nodes = 0
        self._in_string = False
        self._escaped = False

    @property
    def nodes(self) -> int:
        """Values counted so far."""
        return self._nodes

    def count_piece(self, piece: bytes) -> None:
        """The next piece of the body, cut anywhere. Raises BadRequest when a limit is exceeded."""
        at = 0
        if self._escaped and piece:
            self._escaped, at = False, 1
        while at < len(piece):
            at = self._skip_string(piece, at) if self._in_string else self._next_token(piece, at)

    def _skip_string(self, piece: bytes, at: int) -> int:
        match = _REST_OF_STRING.match(piece, at)
        end = match.end() if match else at
        if end < len(piece):
            # Either the closing quote, or a backslash whose escaped character is in the next piece.
            self._in_string = self._escaped = piece[end] == ord("\\")
        return end + 1

    def _next_token(self, piece: bytes, at: int) -> int:
        match = _STRUCTURE.search(piece, at)
        if match is None:
            return len(piece)
        self._nodes += 1
        if self._nodes > self._node_limit:
            raise BadRequest(f"the JSON has more than {self._node_limit} values", code="json_too_large")
        match match.group():
            case b'"':
                self._in_string = True
            case b"[" | b"{":
                self._depth += 1
                if self._depth > self._depth_limit:
                    raise BadRequest(
                        f"the JSON is nested deeper than {self._depth_limit}", code="json_too_deep"
                    )
            case b"]" | b"}":
                self._depth -= 1
        return match.end()
