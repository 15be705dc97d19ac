"""Word timestamps, and a transcript in step with its speech, only if the request asks for them."""

from __future__ import annotations

import base64
from itertools import pairwise
from typing import Any

import httpx
import openai
import pytest

from antiphon_executor.interface.events import (
    OUTPUT_SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    OmniEvent,
    SpeechDelta,
    SpeechEnded,
)
from tests.echo_engine import LOOK_AHEAD_SAMPLES, EchoEngine, Script
from tests.server.routes.test_chat import deltas_of, refusal, said, stream

TEXT = "one two three four five"
FRAMES_PER_TOKEN = 2


def spoken(text: str = TEXT, **audio: Any) -> dict[str, Any]:
    audio = {"voice": "ethan", "format": "pcm16", **audio}
    return said(text, modalities=["text", "audio"], audio=audio)


def timed(text: str = TEXT, **audio: Any) -> dict[str, Any]:
    return spoken(text, timestamp_granularities=["word"], **audio)


async def audio_of(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["audio"]


def audio_deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [delta["audio"] for delta in deltas_of(chunks) if "audio" in delta]


def starts_at(token: int) -> float:
    """The echo speaks two frames a token, the first frame of all shorter by its look-ahead."""
    return max(token * FRAMES_PER_TOKEN * SAMPLES_PER_FRAME - LOOK_AHEAD_SAMPLES, 0) / OUTPUT_SAMPLE_RATE_HZ


async def test_a_whole_answer_times_every_word_of_its_transcript(client: httpx.AsyncClient) -> None:
    """The echo's tokens are four characters each: `one `, `two `, `thre`, `e fo`, `ur f`, `ive`."""
    audio = await audio_of(client, timed())
    seconds = len(base64.b64decode(audio["data"])) / 2 / OUTPUT_SAMPLE_RATE_HZ
    assert audio["timestamp_granularity"] == "word"
    assert [word["word"] for word in audio["words"]] == ["one ", "two ", "three ", "four ", "five"]
    # Of these lengths, the words begin where the echo happens to say them.
    assert [word["start"] for word in audio["words"]] == pytest.approx(
        [starts_at(n) for n in (0, 1, 2, 3, 4)], abs=0.05
    )
    assert seconds - 0.02 < audio["words"][-1]["end"] <= seconds + 1e-6
    assert all(set(word) == {"word", "start", "end"} for word in audio["words"])


async def test_a_stream_tells_the_same_words_each_behind_its_sound(client: httpx.AsyncClient) -> None:
    whole = await audio_of(client, timed())
    deltas = audio_deltas(await stream(client, timed()))
    assert (deltas[0]["timestamp_granularity"], list(deltas[0])) == ("word", ["id", "timestamp_granularity"])
    words: list[dict[str, Any]] = []
    heard_s = 0.0
    for delta in deltas:
        heard_s += len(base64.b64decode(delta.get("data", ""))) / 2 / OUTPUT_SAMPLE_RATE_HZ
        # Three samples at most wait for a whole group of base64.
        assert all(word["end"] <= heard_s + 3 / OUTPUT_SAMPLE_RATE_HZ for word in delta.get("words", []))
        words += delta.get("words", [])
    assert [word.pop("index") for word in words] == list(range(len(words)))
    assert [word["word"] for word in words] == [word["word"] for word in whole["words"]]
    assert all(a["start"] <= b["start"] and a["end"] <= b["end"] for a, b in pairwise(words))
    assert words[-1]["end"] == whole["words"][-1]["end"]


@pytest.mark.parametrize("stream_it", [False, True])
async def test_nothing_of_it_is_sent_unless_it_is_asked_for(
    client: httpx.AsyncClient, stream_it: bool
) -> None:
    for body in (spoken(), spoken(timestamp_granularities=[]), spoken(transcript_timing="as_spoken")):
        deltas = audio_deltas(await stream(client, body)) if stream_it else [await audio_of(client, body)]
        names = {name for delta in deltas for name in delta}
        assert names == {"id", "data", "expires_at", "transcript"}


@pytest.mark.parametrize("max_frames", [1, 3, 5])
async def test_speech_cut_short_still_has_all_of_its_words(
    client: httpx.AsyncClient, engine: EchoEngine, max_frames: int
) -> None:
    engine.script = Script(max_frames=max_frames)
    deltas = audio_deltas(await stream(client, timed()))
    words = [word for delta in deltas for word in delta.get("words", [])]
    assert "".join(word["word"] for word in words) == TEXT
    assert all(a["start"] <= b["start"] and a["end"] <= b["end"] for a, b in pairwise(words))
    total_s = (max_frames * SAMPLES_PER_FRAME - LOOK_AHEAD_SAMPLES) / OUTPUT_SAMPLE_RATE_HZ
    assert words[-1]["end"] == pytest.approx(total_s, abs=1e-6)


@pytest.mark.parametrize(("timing", "runs_ahead"), [("as_generated", True), ("as_spoken", False)])
async def test_a_transcript_runs_ahead_of_the_sound_or_keeps_pace_with_it(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, timing: str, runs_ahead: bool
) -> None:
    """All text is there before the first speech. In step, no token comes before its own speech."""
    whole = EchoEngine._events
    monkeypatch.setattr(EchoEngine, "_events", lambda *args: sorted(whole(*args), key=_is_speech))
    deltas = audio_deltas(await stream(client, spoken(transcript_timing=timing)))
    said_so_far, heard_s, ahead, pieces, names = "", 0.0, False, 0, set[str]()
    for delta in deltas:
        said_so_far += delta.get("transcript", "")
        if "data" in delta:
            heard_s += len(base64.b64decode(delta["data"])) / 2 / OUTPUT_SAMPLE_RATE_HZ
            ahead |= starts_at((len(said_so_far) - 1) // 4) >= heard_s
            pieces += "transcript" in names
        names = set(delta)
    assert said_so_far == TEXT
    assert ahead == runs_ahead
    # Before the sound's end, not with it.
    assert runs_ahead or pieces > 2


def _is_speech(event: OmniEvent) -> bool:
    return isinstance(event, SpeechDelta | SpeechEnded)


async def test_dashscopes_text_keeps_pace_too(client: httpx.AsyncClient) -> None:
    chunks = await stream(client, spoken(transcript_timing="as_spoken", format="wav"))
    assert "".join(delta.get("content") or "" for delta in deltas_of(chunks)) == TEXT
    kinds = ["text" if delta.get("content") else "sound" for delta in deltas_of(chunks)[2:]]
    assert kinds[:2] == ["text", "sound"]


async def test_openais_own_client_joins_the_pieces(client: httpx.AsyncClient) -> None:
    """Its accumulator joins lists by `index`, and strings by appending."""
    sdk = openai.AsyncOpenAI(api_key="none", base_url="http://localhost/v1", http_client=client)
    body: dict[str, Any] = timed(transcript_timing="as_spoken")
    async with sdk.chat.completions.stream(model="echo", **body) as answer:
        final: Any = (await answer.get_final_completion()).choices[0].message.audio
    assert final.transcript == TEXT
    assert final.timestamp_granularity == "word"
    assert "".join(word["word"] for word in final.words) == TEXT


@pytest.mark.parametrize(
    ("audio", "param"),
    [
        ({"timestamp_granularities": ["segment"]}, "audio.timestamp_granularities[0]"),
        ({"timestamp_granularities": ["word", "word"]}, "audio.timestamp_granularities"),
        ({"transcript_timing": "sometimes"}, "audio.transcript_timing"),
    ],
)
async def test_what_cannot_be_timed_is_refused(client: httpx.AsyncClient, audio: Any, param: str) -> None:
    assert await refusal(client, spoken(**audio)) == (400, param)


async def test_both_are_documented(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/openapi.json")).json()
    options = schema["components"]["schemas"]["AudioOptions"]
    assert {"timestamp_granularities", "transcript_timing"} <= set(options["properties"])
    assert "The times are estimated" in " ".join(options["description"].split())
    assert set(schema["components"]["schemas"]["Word"]["properties"]) == {"index", "word", "start", "end"}
