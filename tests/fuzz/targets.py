"""The parsers of what clients send, each with what must hold for any bytes, as a function that raises."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import httptools

from antiphon_server.chat.prompt.conversation import read_conversation
from antiphon_server.chat.prompt.renderer import PromptRenderer
from antiphon_server.errors import ApiError, BadRequest
from antiphon_server.http.framing import Framing
from antiphon_server.http.request_head import check_head
from antiphon_server.media.budget import Budget
from antiphon_server.media.data_url import check_inline, decode_inline
from antiphon_server.media.decode.plain_wav import read_plain_wav
from antiphon_server.media.decode.sniff import sniff
from antiphon_server.media.fetch import url_policy
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.source import MediaSource
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.openai_api.json_shape import JsonShape
from antiphon_server.openai_api.realtime.client_events import RefusedEvent, parse_client_event
from antiphon_server.openai_api.request import parse_chat_request
from antiphon_server.realtime.client_secrets import PREFIX, ClientSecrets
from tests.tiny_checkpoint import ADDED_TOKENS, SPECIAL_TOKENS, write_tiny_checkpoint

_DEPTH, _NODES, _HEAD_BYTES = 16, 200, 512
_MEDIA = MediaPolicy(fetch_hosts=("media.example",))
_SECRETS = ClientSecrets(b"key")


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def chat_body(data: bytes) -> None:
    """An answer or an error of ours. How a body is cut changes nothing."""
    with suppress(ApiError):
        parse_chat_request(data)
    step = 1 + len(data) % 7
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    assert _is_shaped([data]) == _is_shaped(pieces)


def _is_shaped(pieces: list[bytes]) -> bool:
    shape = JsonShape(_DEPTH, _NODES)
    try:
        for piece in pieces:
            shape.count_piece(piece)
    except BadRequest:
        return False
    return True


def realtime_event(data: bytes) -> None:
    with suppress(RefusedEvent):
        parse_client_event(text_of(data), _DEPTH, _NODES)


class _Head:
    """A connection's parser as `http.connection` uses it, without the connection."""

    def __init__(self) -> None:
        self.url, self.headers = b"", list[tuple[bytes, bytes]]()
        self.parser = httptools.HttpRequestParser(self)
        self.framing = Framing(_HEAD_BYTES)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.framing.in_body:
            self.framing.count_trailer(len(name) + len(value))
        else:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        check_head(self.parser.get_http_version(), self.parser.get_method(), self.url, self.headers)
        self.framing.start_body()

    def on_body(self, body: bytes) -> None:
        self.framing.count_body(len(body))

    def on_message_complete(self) -> None:
        self.framing.end_message()
        self.url, self.headers = b"", []

    def feed(self, piece: bytes) -> None:
        self.framing.count_piece(len(piece))
        self.parser.feed_data(piece)
        self.framing.check_limit()


def http_bytes(data: bytes) -> None:
    """Nothing but the parser's errors and ours, and what is kept of a head has a bound."""
    head = _Head()
    cuts = [0, len(data) // 3, len(data) // 2, len(data)]
    try:
        for start, end in pairwise(cuts):
            head.feed(data[start:end])
            kept = sum(len(name) + len(value) for name, value in head.headers) + len(head.url)
            assert head.framing.in_body or kept <= _HEAD_BYTES + end - start
    except httptools.HttpParserCallbackError as error:
        if not isinstance(error.__context__, ApiError):
            raise
    except (httptools.HttpParserError, httptools.HttpParserUpgrade, ApiError):
        return


def media_url(data: bytes) -> None:
    """No address of a private network is allowed, however it is written."""
    text = text_of(data)
    url_policy.is_allowed_address(text, _MEDIA)
    target = url_policy.parse(text) if url_policy.is_url(text) else None
    if target is not None and url_policy.is_allowed_host(target, _MEDIA):
        assert target.host == "media.example"


def data_url(data: bytes) -> None:
    """What is decoded is no more than what was charged for."""
    text = text_of(data)
    for location in (text, f"data:audio/wav;base64,{text}"):
        part = Part(MediaSource("audio", (location,), "messages[0]"), 1)
        budget = Budget(_MEDIA)
        with suppress(ApiError):
            start = check_inline(location, part, _MEDIA, budget)
            decoded = decode_inline(location, start, part)
            assert len(decoded) <= _MEDIA.request_bytes - budget.encoded_bytes_left


def wav_file(data: bytes) -> None:
    sniff(data)
    for file in (data, b"RIFF\0\0\0\0WAVE" + data):
        samples = read_plain_wav(file)
        if samples is not None:
            assert len(samples) * 2 <= len(file)
            assert not len(samples) or -1 <= samples.min() <= samples.max() < 1


def prompt_text(data: bytes) -> None:
    """A user's text makes no control token."""
    with suppress(ApiError):
        assert _controls_of(f"x{text_of(data)}") == _controls_of("x")


def _controls_of(text: str) -> list[int]:
    """In the prompt of a conversation in which the user says it."""
    prompts, controls = _prompts()
    asked = parse_chat_request(json.dumps({"messages": [{"role": "user", "content": text}]}).encode())
    conversation = read_conversation(asked, lambda _: None, ClientJson(64, 100_000))
    return [token for token in prompts.render_now(conversation) if token in controls]


@cache
def _prompts() -> tuple[PromptRenderer, frozenset[int]]:
    with TemporaryDirectory() as name:
        prompts = PromptRenderer.from_folder(write_tiny_checkpoint(Path(name)))
    ids = map(prompts.control_id, (*SPECIAL_TOKENS, *ADDED_TOKENS))
    return prompts, frozenset(token for token in ids if token is not None)


def client_secret(data: bytes) -> None:
    """None is valid that was not signed."""
    for text in (text_of(data), PREFIX + text_of(data)):
        assert _SECRETS.read(text) is None


TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one
    for one in (
        chat_body,
        realtime_event,
        http_bytes,
        media_url,
        data_url,
        wav_file,
        prompt_text,
        client_secret,
    )
}
