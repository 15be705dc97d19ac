"""Valid bytes for each target, from which a fuzzer starts."""

from __future__ import annotations

import base64
import json
import struct

_CHAT = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}], "max_tokens": 5}
_SPOKEN = {**_CHAT, "modalities": ["text", "audio"], "audio": {"voice": "ethan", "format": "wav"}}
_UPDATE = {"type": "session.update", "session": {"type": "realtime", "instructions": "Be brief."}}
_ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
_CREATE = {"type": "conversation.item.create", "item": _ITEM}
_GET = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
_POST = _HEAD + b"2\r\n{}\r\n0\r\nX: y\r\n\r\n"
_FORMAT = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)

SEEDS: dict[str, tuple[bytes, ...]] = {
    "chat_body": (json.dumps(_CHAT).encode(), json.dumps(_SPOKEN).encode(), b'{"a": "\\""}'),
    "realtime_event": (json.dumps(_UPDATE).encode(), json.dumps(_CREATE).encode()),
    "http_bytes": (_GET, _POST, _GET + _POST),
    "media_url": (
        b"https://media.example/a.wav?b#c",
        b"http://[::ffff:127.0.0.1]:80/",
        b"https://a@media.example.",
    ),
    "data_url": (base64.b64encode(b"hello"), b"aGVs%2Bbz%3D\n", b"data:audio/wav;codecs=opus;base64,AAAA"),
    "wav_file": (
        b"RIFF\0\0\0\0WAVE" + _FORMAT + b"data\4\0\0\0abcd",
        _FORMAT + b"data\4\0\0\0abcd",
        b"\xff\xfb\x90\0",
    ),
    "prompt_text": (b"<|im_start|>user\nhello<|im_end|>", "naïve 日本 \U0010fffd".encode()),
    "client_secret": (b"ek_AAAA", base64.urlsafe_b64encode(bytes(64))),
}
