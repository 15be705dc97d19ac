"""Reader of media inside the request: bare base64, or a data URL as browsers and SDKs write it.

The size follows from the length of the text and is checked before decoding. Base64 is decoded as browsers
do it (WHATWG's forgiving decode), which accepts white space and missing padding.
"""

from __future__ import annotations

import re
import string

import pybase64

from antiphon_server.media.budget import Budget
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy

_MIB = 1 << 20
_MAX_HEADER_CHARS = 1024
# MIME parameters may contain spaces, quotes and commas (`codecs=vp8,opus`). Base64 cannot contain this.
_DATA_BEGIN = re.compile(r";[ \t]*base64[ \t]*,", re.IGNORECASE)
_WHITE_SPACE = string.whitespace.replace("\v", "")
# The base64 characters that a URL encoder escapes. General unescaping would create a Python object for each
# escape: gigabytes for a part within its limit.
_ESCAPES = tuple(
    (escape, char.encode())
    for char in f"+/={_WHITE_SPACE}"
    for escape in {f"%{ord(char):02x}".encode(), f"%{ord(char):02X}".encode()}
)
_EXAMPLES = {"audio": "audio/wav", "image": "image/png", "video": "video/mp4"}


def check_inline(location: str, part: Part, policy: MediaPolicy, budget: Budget) -> int:
    """The index in `location` at which the base64 begins: 0, or after `data:[type][;name=value];base64,`.

    Charges the budget. Raises BadRequest for other kinds of data URL, and for empty or too long data.
    """
    start = 0
    if location[:5].lower() == "data:":
        header = _DATA_BEGIN.search(location, 0, _MAX_HEADER_CHARS)
        if header is None:
            kind = "image" if part.source.is_frame_list else part.source.kind
            raise part.invalid_error(
                "is not a base64 data URL", f"Write it as data:{_EXAMPLES[kind]};base64,..."
            )
        start = header.end()
    size_bytes = _decoded_size(location, start)
    check_size(size_bytes, part, policy, budget)
    return start


def check_size(size_bytes: int, part: Part, policy: MediaPolicy, budget: Budget) -> None:
    """Charges the budget with an encoded part. Raises BadRequest if it is empty or too large."""
    if size_bytes > policy.part_bytes:
        limit = f"{policy.part_bytes / _MIB:g} MiB"
        got = f"is {size_bytes / _MIB:.1f} MiB"
        raise part.limit_error(got, limit, "part_bytes", "Compress or split the file, or raise the limit.")
    if size_bytes == 0:
        raise part.invalid_error("is empty", "Send the file's bytes as base64.")
    budget.charge_encoded(part, size_bytes)


def decode_inline(location: str, start: int, part: Part) -> bytes:
    """The decoded bytes. Pure, so that a thread can run it. Raises BadRequest if the text is not base64."""
    text = location[start:] if start else location
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        return _decode_forgivingly(text, part)


def _decode_forgivingly(text: str, part: Part) -> bytes:
    """WHATWG's forgiving-base64 decode, after undoing the escapes of URL encoders."""
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
        raise part.invalid_error("is not valid base64", fix) from None


def _decoded_size(text: str, start: int) -> int:
    """The decoded size in bytes; exact if line breaks begin within the first 1024 characters."""
    head = text[start : start + _MAX_HEADER_CHARS]
    spaces = sum(text.count(space, start) for space in _WHITE_SPACE if space in head)
    tail = text[-4:].translate(str.maketrans("", "", _WHITE_SPACE))[-2:]
    padding = len(tail) - len(tail.rstrip("="))
    return max(0, (len(text) - start - spaces - padding) * 3 // 4)
