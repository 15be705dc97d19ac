"""A checkpoint of Qwen3.5-Omni, served by its path only, as the stock client sees it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.answers import SPOKEN, STREAMED, Answer, ask, said, timed
from tests.e2e.forked_server import forked
from tests.e2e.recordings import CLIP_FPS, CLIP_S, QUESTION_S, Recordings
from tests.e2e.server_process import MODEL, RunningServer, becomes, start_server, terminate
from tests.server.media.media_samples import base64_of, ffmpeg

pytestmark = pytest.mark.engine

VOICES = ("ada", "ben")
TOKENS_PER_SECOND_OF_SOUND = 7
# A square of 64 pixels is four tokens, two frames of it one patch; the sound is a low hum, quick to send.
FILM_S, FILM_TOKENS_PER_PATCH = 60, 4
SPEECH_S = 20 * 60
FLAGS = (
    "--dtype", "auto", "--max-model-len", "16384", "--streams", "4",
    "--media-audio-seconds", "1500", "--media-request-audio-seconds", "1500",
)  # fmt: skip


@pytest.fixture(scope="module")
def hybrid(
    tiny_qwen3_5_omni: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    log = tmp_path_factory.mktemp("hybrid") / "log"
    server = start_server(tiny_qwen3_5_omni, log, *FLAGS, launch=forked)
    yield server
    server.end()


@pytest.fixture(scope="module")
def client(hybrid: RunningServer) -> openai.OpenAI:
    return hybrid.client()


def spoken(voice: str = VOICES[0]) -> dict[str, Any]:
    return {**SPOKEN, "audio": {"voice": voice, "format": "wav"}}


def streamed(voice: str = VOICES[0]) -> dict[str, Any]:
    return {**STREAMED, "audio": {"voice": voice, "format": "pcm16"}}


def asked(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": "What is it?"}]}]


def test_the_model_lists_its_family_and_voices(hybrid: RunningServer) -> None:
    listed = hybrid.get("/v1/audio/voices").json()["voices"]
    assert [voice["id"] for voice in listed] == list(VOICES)
    assert "(qwen3_5_omni_moe), context 16,384 tokens" in hybrid.log.read_text()


def test_every_kind_of_question_is_answered_in_text_and_speech(
    client: openai.OpenAI, recordings: Recordings
) -> None:
    silent = {"mm_processor_kwargs": {"use_audio_in_video": False}}
    questions: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
        (said("What is it?"), {}),
        (asked(recordings.asked_aloud()), {}),
        (asked(recordings.shown()), {}),
        (asked(recordings.filmed()), silent),
        (asked(recordings.filmed()), {}),
    ]
    answers = [ask(client, question, seed=3, extra_body=body, **spoken()) for question, body in questions]
    for answer in answers:
        assert answer.text
        spent = answer.usage.completion_tokens_details
        assert answer.frames == spent.audio_tokens > 0
        assert answer.usage.completion_tokens == spent.text_tokens + spent.audio_tokens
    assert len({answer.text for answer in answers}) == len(questions)


def test_the_prompt_is_counted_by_kind(client: openai.OpenAI, recordings: Recordings) -> None:
    """7 tokens a second of sound, a clip's own among it; a picture a token per 32 x 32 pixels."""
    read = ask(client, recordings.all_at_once(), max_tokens=1).usage
    by_kind = read.prompt_tokens_details
    assert by_kind.audio_tokens == TOKENS_PER_SECOND_OF_SOUND * (QUESTION_S + CLIP_S)
    assert by_kind.image_tokens == 128 * 96 // 1024
    patches = CLIP_S * CLIP_FPS // 2
    assert by_kind.video_tokens > 0
    assert by_kind.video_tokens % patches == 0
    kinds = by_kind.text_tokens + by_kind.audio_tokens + by_kind.image_tokens + by_kind.video_tokens
    assert read.prompt_tokens == kinds


def test_streamed_and_whole_speech_are_the_same_samples(client: openai.OpenAI) -> None:
    whole = ask(client, said("Say it twice."), seed=11, **spoken())
    piecewise = ask(client, said("Say it twice."), seed=11, **streamed())
    assert (piecewise.text, piecewise.pcm) == (whole.text, whole.pcm)


def test_all_voices_speak_and_sound_different(client: openai.OpenAI) -> None:
    heard = [ask(client, said("Who are you?"), seed=1, **spoken(voice)) for voice in VOICES]
    assert len({answer.pcm for answer in heard}) == len(VOICES)
    assert len({answer.text for answer in heard}) == 1


def test_an_unknown_voice_is_rejected_with_the_available_ones(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="ada, ben"):
        ask(client, said("Who are you?"), **spoken("walter"))


def test_all_of_the_text_is_spoken_before_the_speech_may_end(client: openai.OpenAI) -> None:
    """Four frames a chunk of four tokens, whatever is drawn: EOS is masked until the text has entered."""
    answer = ask(client, said("Tell me everything."), max_tokens=40, seed=2, **spoken())
    text_tokens = answer.usage.completion_tokens_details.text_tokens
    assert answer.frames >= text_tokens // 4 * 4


def test_words_are_timed_in_both_forms(client: openai.OpenAI) -> None:
    whole = ask(client, said("Tell me everything."), max_tokens=40, seed=2, **timed(spoken()))
    piecewise = ask(client, said("Tell me everything."), max_tokens=40, seed=2, **timed(streamed()))
    assert (whole.granularity, piecewise.granularity) == ("word", "word")
    assert len(whole.words) > 1
    whole.assert_timed()
    piecewise.assert_timed()
    assert [word["index"] for word in piecewise.words] == list(range(len(whole.words)))


def test_the_second_turn_reads_the_first_from_the_cache(client: openai.OpenAI) -> None:
    messages = said("Remember this: " + "a red house by the river. " * 200)
    first = ask(client, messages)
    messages += [{"role": "assistant", "content": first.text}, *said("And now?")]
    second = ask(client, messages, seed=2, **spoken())
    again = ask(client, messages, seed=2, **spoken())
    assert second.usage.prompt_tokens_details.cached_tokens > 0
    assert (second.text, second.pcm) == (again.text, again.pcm)


def test_a_client_that_leaves_frees_everything(hybrid: RunningServer) -> None:
    body = {"model": MODEL, "messages": said("Tell me a long story."), "max_tokens": 400, **streamed()}
    with httpx.stream("POST", f"{hybrid.url}/v1/chat/completions", json=body, timeout=60) as answer:
        assert next(line for line in answer.iter_lines() if '"data"' in line)
    assert becomes(hybrid.is_idle, 15), hybrid.metrics()


def test_four_speak_at_once_as_if_alone(client: openai.OpenAI) -> None:
    def speak(number: int) -> Answer:
        return ask(client, said(f"Count to {number}."), seed=number, **streamed(VOICES[number % 2]))

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(speak, range(8)))
    for answer in together:
        assert answer.frames == answer.usage.completion_tokens_details.audio_tokens > 0
    assert len({answer.pcm for answer in together}) == 8


def test_twenty_minutes_of_sound_are_heard_and_answered(client: openai.OpenAI) -> None:
    """8,400 tokens, more than the Talker takes: their rows are subsampled for it. A timestamp a minute."""
    hum = ("-f", "lavfi", "-i", f"sine=frequency=220:sample_rate=16000:duration={SPEECH_S}", "-ac", "1")
    sound = base64_of(ffmpeg(*hum, suffix="flac"))
    part = {"type": "audio_url", "audio_url": {"url": f"data:audio/flac;base64,{sound}"}}
    answer = ask(client, asked(part), seed=3, timeout=600, **spoken())
    counted = answer.usage.prompt_tokens_details
    assert counted.audio_tokens == TOKENS_PER_SECOND_OF_SOUND * SPEECH_S
    assert (counted.image_tokens, counted.video_tokens) == (0, 0)
    assert answer.text
    assert answer.frames == answer.usage.completion_tokens_details.audio_tokens > 0


def test_a_minute_of_film_at_a_frame_a_second_is_seen_heard_and_answered(client: openai.OpenAI) -> None:
    """Thirty patches, each with its timestamp, and the sound between them."""
    film = f"testsrc=size=64x64:rate=5:duration={FILM_S}"
    hum = f"sine=frequency=220:duration={FILM_S}"
    sources = ("-f", "lavfi", "-i", film, "-f", "lavfi", "-i", hum)
    clip = ffmpeg(*sources, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-c:a", "aac", suffix="mp4")
    url = "data:video/mp4;base64," + base64.b64encode(clip).decode()
    part = {"type": "video_url", "video_url": {"url": url}, "fps": 1}
    answer = ask(client, asked(part), seed=3, timeout=600, **spoken())
    counted = answer.usage.prompt_tokens_details
    assert counted.video_tokens == FILM_S // 2 * FILM_TOKENS_PER_PATCH
    assert counted.audio_tokens == TOKENS_PER_SECOND_OF_SOUND * FILM_S
    assert answer.text
    assert answer.frames == answer.usage.completion_tokens_details.audio_tokens > 0


def test_it_stops_on_a_signal(hybrid: RunningServer) -> None:
    """Last of this file: nothing is left behind."""
    ask(hybrid.client(), said("Good night."), seed=1, **spoken())
    assert terminate(hybrid) == 0
    assert becomes(lambda: not hybrid.survivors(), 10)
    lines = [json.loads(line) for line in hybrid.log.read_text().splitlines() if line.startswith("{")]
    assert not [line for line in lines if line["level"] in ("error", "critical")]
