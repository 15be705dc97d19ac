"""Media that stands in the request itself: bare base64, or a data URL as browsers and SDKs write it.

In: the text. Out: its bytes. The size is known from the text's length and checked before anything is decoded.
Base64 is read as browsers read it (WHATWG's forgiving decode): white space and missing padding do no harm.
"""

from __future__ import annotations

import re
import string

import pybase64

from antiphon_server.media.budget import Budget
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy

_MIB = 1 << 20
_LONGEST_HEADER = 1024
# MIME parameters may hold spaces, quotes and commas (`codecs=vp8,opus`); this cannot occur in base64 itself.
_DATA_BEGIN = re.compile(r";[ \t]*base64[ \t]*,", re.IGNORECASE)
_WHITE_SPACE = string.whitespace.replace("\v", "")
# What of base64 an encoder of URLs escapes. Undoing any escape would take a Python object for each: gigabytes
# for a part within its limit.
_ESCAPES = tuple(
    (escape, char.encode())
    for char in f"+/={_WHITE_SPACE}"
    for escape in {f"%{ord(char):02x}".encode(), f"%{ord(char):02X}".encode()}
)
_EXAMPLES = {"audio": "audio/wav", "image": "image/png", "video": "video/mp4"}


def check_inline(location: str, part: Part, policy: MediaPolicy, budget: Budget) -> int:
    """Where in `location` the base64 begins: 0, or after `data:[type][;name=value];base64,`.

    Charges the budget. Raises BadRequest for another kind of data URL, and for empty or too long data.
    """
    start = 0
    if location[:5].lower() == "data:":
        header = _DATA_BEGIN.search(location, 0, _LONGEST_HEADER)
        if header is None:
            kind = "image" if part.source.is_frame_list else part.source.kind
            raise part.bad("is not a base64 data URL", f"Write it as data:{_EXAMPLES[kind]};base64,...")
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
    """The bytes; a pure function, fit for a thread. Raises BadRequest where the text is not base64."""
    text = location[start:] if start else location
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        return _decode_forgivingly(text, part)


def _decode_forgivingly(text: str, part: Part) -> bytes:
    """As WHATWG's forgiving-base64 decode, after percent-decoding where an encoder would have escaped."""
    try:
        raw = text.encode("ascii")
        if b"%" in raw:
            for escape, byte in _ESCAPES:
                raw = raw.replace(escape, byte)
        raw = raw.translate(None, _WHITE_SPACE.encode())
        if len(raw) % 4 == 0:
            raw = raw.removesuffix(b"=").removesuffix(b"=")
        return pybase64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except ValueError:
        fix = "Use the standard alphabet (with + and /) and send the whole text."
        raise part.bad("is not valid base64", fix) from None


def _decoded_size(text: str, start: int) -> int:
    """Bytes that the text decodes to; exact if its line breaks, if any, begin with the first line."""
    seen = text[start : start + _LONGEST_HEADER]
    spaces = sum(text.count(space, start) for space in _WHITE_SPACE if space in seen)
    tail = text[-4:].translate(str.maketrans("", "", _WHITE_SPACE))[-2:]
    padding = len(tail) - len(tail.rstrip("="))
    return max(0, (len(text) - start - spaces - padding) * 3 // 4)
