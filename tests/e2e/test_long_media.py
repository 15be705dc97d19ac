"""A long recording and a film over HTTP: every token, in bounded memory, and decoded once."""

from __future__ import annotations

from functools import partial
from typing import Any

import openai
import pytest

from tests.e2e import answers
from tests.e2e.conftest import NANO
from tests.e2e.process_usage import UsageWatch
from tests.e2e.server_process import RunningServer
from tests.server.media.media_samples import base64_of, ffmpeg

pytestmark = pytest.mark.engine

ask = partial(answers.ask, model=NANO, max_tokens=1, timeout=110)
MINUTES, FILM_S = 20, 60
MOST_BYTES = 512 << 20
MOST_FILM_BYTES = 128 << 20
# Of the prefix cache, and of the prompt behind the recording: the question and the answer's opening.
BLOCK_TOKENS, TAIL_TOKENS = 256, 24


@pytest.fixture(scope="module")
def nano(nano_server: RunningServer) -> openai.OpenAI:
    return nano_server.client()


def test_twenty_minutes_are_heard_whole_and_a_second_question_decodes_nothing(
    nano: openai.OpenAI, nano_server: RunningServer
) -> None:
    """They are read while they are decoded, which is no hit of the cache."""
    hum = f"sine=frequency=220:sample_rate=16000:duration={MINUTES * 60}"
    recording = base64_of(ffmpeg("-f", "lavfi", "-i", hum, "-ac", "1", "-b:a", "16k", suffix="ogg"))
    part = {"type": "audio_url", "audio_url": {"url": f"data:audio/ogg;base64,{recording}"}}
    with UsageWatch(nano_server) as memory:
        first = ask(nano, question(part, "What is it?"))
    assert first.usage.prompt_tokens_details.audio_tokens == 7 * 60 * MINUTES
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    assert memory.decoded
    assert memory.growth("server", "decoders") < MOST_BYTES
    with UsageWatch(nano_server) as memory:
        second = ask(nano, question(part, "Who is it?"))
    assert not memory.decoded
    assert second.usage.prompt_tokens_details.audio_tokens == 7 * 60 * MINUTES
    assert_recording_is_cached(second)


def assert_recording_is_cached(answer: answers.Answer) -> None:
    """Up to its end, at most a block short."""
    short = answer.usage.prompt_tokens - answer.usage.prompt_tokens_details.cached_tokens
    assert short <= TAIL_TOKENS + BLOCK_TOKENS


@pytest.mark.parametrize("minutes", [4, 9])
def test_a_second_question_about_minutes_reads_them_from_the_cache(nano: openai.OpenAI, minutes: int) -> None:
    hum = f"sine=frequency=330:sample_rate=16000:duration={60 * minutes}"
    recording = base64_of(ffmpeg("-f", "lavfi", "-i", hum, "-ac", "1", "-b:a", "16k", suffix="ogg"))
    part = {"type": "audio_url", "audio_url": {"url": f"data:audio/ogg;base64,{recording}"}}
    first, second = (ask(nano, question(part, text)) for text in ("What is it?", "Who is it?"))
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    assert_recording_is_cached(second)


def test_a_film_of_a_minute_is_seen_and_heard_in_bounded_memory_and_decoded_once(
    nano: openai.OpenAI, nano_server: RunningServer
) -> None:
    film = base64_of(
        ffmpeg(
            *("-f", "lavfi", "-i", f"testsrc=size=640x360:rate=8:duration={FILM_S}"),
            *("-f", "lavfi", "-i", f"sine=frequency=330:sample_rate=16000:duration={FILM_S}"),
            *("-preset", "ultrafast", "-pix_fmt", "yuv420p"),
            suffix="mp4",
        )
    )
    part = {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{film}"}}
    with UsageWatch(nano_server) as memory:
        answer = ask(nano, question(part, "What is shown?"))
    read = answer.usage.prompt_tokens_details
    assert read.audio_tokens == pytest.approx(7 * FILM_S, abs=2)
    assert read.video_tokens >= FILM_S
    assert memory.decoded
    assert memory.growth("server", "decoders") < MOST_FILM_BYTES
    with UsageWatch(nano_server) as memory:
        second = ask(nano, question(part, "What is heard?"))
    assert not memory.decoded
    assert second.usage.prompt_tokens_details.video_tokens == read.video_tokens
    assert second.usage.prompt_tokens_details.cached_tokens > 0.8 * answer.usage.prompt_tokens


def question(part: dict[str, Any], text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [part, {"type": "text", "text": text}]}]
