"""Media that stands in the request itself: bare base64, or a data URL.

In: the text. Out: its bytes. The size is known from the text's length and checked before anything is decoded;
base64 is strict (standard alphabet, right padding, no white space).
"""

from __future__ import annotations

import re

import pybase64

from antiphon_server.media.budget import Budget
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy

_MIB = 1 << 20
_LONGEST_HEADER = 256
_DATA_URL = re.compile(r"data:[\w.+/-]*(?:;[\w.+-]+=[\w.+\"-]+)*;base64,", re.ASCII | re.IGNORECASE)


def check_inline(location: str, part: Part, policy: MediaPolicy, budget: Budget) -> int:
    """Where in `location` the base64 begins: 0, or after `data:[type][;name=value];base64,`.

    Charges the budget. Raises BadRequest for another kind of data URL, and for empty or too long data.
    """
    start = 0
    if location[:5].lower() == "data:":
        header = _DATA_URL.match(location[:_LONGEST_HEADER])
        if header is None:
            raise part.bad("is not a base64 data URL", "Write it as data:audio/wav;base64,...")
        start = header.end()
    size_bytes = _decoded_size(location, start)
    if size_bytes > policy.part_bytes:
        limit = f"{policy.part_bytes / _MIB:g} MiB"
        got = f"is {size_bytes / _MIB:.1f} MiB"
        raise part.over(got, limit, "part_bytes", "Compress or split the file, or raise the limit.")
    if size_bytes == 0:
        raise part.bad("is empty", "Send the file's bytes as base64.")
    budget.take_encoded(part, size_bytes)
    return start


def decode_inline(location: str, start: int, part: Part) -> bytes:
    """The bytes; a pure function, fit for a thread. Raises BadRequest where the text is not strict base64."""
    try:
        return pybase64.b64decode(location[start:] if start else location, validate=True)
    except ValueError:
        fix = "Use the standard alphabet with padding and no line breaks."
        raise part.bad("is not valid base64", fix) from None


def _decoded_size(text: str, start: int) -> int:
    padding = len(text) - len(text[-2:]) + len(text[-2:].rstrip("="))
    return max(0, (padding - start) * 3 // 4)
