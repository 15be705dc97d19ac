"""Options of media: a part's own, those of the request for all parts, and their bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antiphon_server.chat.prompt.conversation import read_conversation
from antiphon_server.errors import BadRequest
from antiphon_server.media.source import MediaSource
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.openai_api.request import parse_chat_request

VIDEO = {"type": "video_url", "video_url": {"url": "x"}}
FRAMES = {"type": "video", "video": ["x", "y"]}
AT = "messages[0].content[0]"
IMAGE = {"type": "image_url", "image_url": {"url": "x"}}


def source(part: dict[str, Any], **fields: Any) -> MediaSource:
    body = {"messages": [{"role": "user", "content": [part]}], **fields}
    request = parse_chat_request(json.dumps(body).encode())
    [found] = read_conversation(request, lambda _: None, ClientJson(32, 1_000)).sources
    return found


def test_a_part_has_its_own_options() -> None:
    found = source(VIDEO | {"fps": 1.0, "min_pixels": 100, "max_pixels": 200, "total_pixels": 1_000})
    assert (found.fps, found.frames) == (1.0, None)
    assert (found.min_pixels, found.max_pixels, found.total_pixels) == (100, 200, 1_000)
    assert source(VIDEO | {"nframes": 6}).frames == 6


def test_the_requests_options_hold_for_parts_without_their_own() -> None:
    kwargs = {"nframes": 6, "max_pixels": 300, "total_pixels": 2_000, "use_audio_in_video": False}
    found = source(VIDEO, mm_processor_kwargs=kwargs)
    assert (found.frames, found.max_pixels, found.total_pixels) == (6, 300, 2_000)
    assert not found.use_audio
    own = source(
        VIDEO | {"fps": 4.0, "min_pixels": 400, "use_audio_in_video": True}, mm_processor_kwargs=kwargs
    )
    assert (own.fps, own.frames) == (4.0, None)
    assert (own.min_pixels, own.max_pixels) == (400, None)
    assert own.use_audio
    assert source(IMAGE, mm_processor_kwargs=kwargs).max_pixels == 300


def test_a_list_of_frames_has_a_rate_and_its_own_number() -> None:
    found = source(FRAMES, mm_processor_kwargs={"nframes": 6})
    assert (found.fps, found.frames) == (None, None)
    assert source(FRAMES, mm_processor_kwargs={"fps": 3.0}).fps == 3.0


@pytest.mark.parametrize(
    ("part", "kwargs", "param", "words"),
    [
        (VIDEO | {"fps": 0}, None, AT + ".fps", "greater than or equal to 0.001"),
        (VIDEO | {"fps": 61.0}, None, AT + ".fps", "less than or equal to 60"),
        (VIDEO | {"nframes": 0}, None, AT + ".nframes", "greater than or equal to 1"),
        (VIDEO | {"nframes": 2.5}, None, AT + ".nframes", "valid integer"),
        (VIDEO | {"total_pixels": 0}, None, AT + ".total_pixels", "greater than or equal to 1"),
        (VIDEO | {"fps": 1.0, "nframes": 4}, None, AT, "fps and nframes exclude each other"),
        (IMAGE | {"min_pixels": 9, "max_pixels": 8}, None, AT, "min_pixels is greater"),
        (FRAMES | {"nframes": 2}, None, AT + ".nframes", "not supported"),
        (IMAGE | {"fps": 2.0}, None, AT + ".fps", "not supported"),
        (VIDEO, {"fps": 1.0, "nframes": 4}, "mm_processor_kwargs", "fps and nframes exclude each other"),
        (VIDEO, {"max_pixels": 10**9}, "mm_processor_kwargs.max_pixels", "less than or equal to 100000000"),
        (VIDEO, {"do_resize": False}, "mm_processor_kwargs.do_resize", "not supported"),
    ],
)  # fmt: skip
def test_values_out_of_bounds_are_refused_by_name(
    part: dict[str, Any], kwargs: dict[str, Any] | None, param: str, words: str
) -> None:
    with pytest.raises(BadRequest) as raised:
        source(part, mm_processor_kwargs=kwargs)
    assert raised.value.param == param
    assert words in raised.value.message
