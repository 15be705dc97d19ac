"""Invalid requests get a 4xx error in OpenAI's format, and the server continues."""

from __future__ import annotations

import re
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.answers import SPOKEN, ask, said
from tests.e2e.recordings import Recordings, sliver_png
from tests.e2e.server_process import MODEL, RunningServer, becomes
from tests.server.media.media_samples import base64_of, tone, wav

pytestmark = [pytest.mark.engine, pytest.mark.promise("R8", "R10", "R19", "R28")]

INNARDS = re.compile(r'0x[0-9a-f]{6,}|/home|/usr|/tmp|Traceback|File "')
# How vLLM, its grammar compilers and transformers speak.
FOREIGN = re.compile(
    r"Grammar error|out-of-vocab|token_id\(s\)|parameter=|value=|xgrammar|guidance|max_model_len"
)


SCHEMA = "response_format.json_schema.schema"


def sound(data: bytes) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": base64_of(data), "format": "wav"}}


def image(data: bytes) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64_of(data)}}


def film(data: bytes) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": "data:video/mp4;base64," + base64_of(data)}}


def showing(part: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [part, {"type": "text", "text": "?"}]}]}


def schema(of: dict[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": of}}}


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no messages": ({"messages": []}, 400, "messages"),
    "unknown model": ({"model": "gpt-none"}, 404, "model"),
    "unknown voice": (SPOKEN | {"audio": {"voice": "unknown", "format": "wav"}}, 400, "audio.voice"),
    "unknown format": (SPOKEN | {"audio": {"voice": "ethan", "format": "midi"}}, 400, "audio.format"),
    "two spoken choices": (SPOKEN | {"n": 2}, 400, "n"),
    "too many choices": ({"n": 99}, 400, "n"),
    "unknown field": ({"temperatur": 1}, 400, "temperatur"),
    "temperature": ({"temperature": 9}, 400, "temperature"),
    "talker_top_k": (SPOKEN | {"talker_top_k": 4000}, 400, "talker_top_k"),
    "prompt beyond the context": ({"messages": said("river " * 6000)}, 400, "messages"),
    "schema that is none": (schema({"type": "?"}), 400, SCHEMA),
    "schema that refers to nothing": (schema({"$ref": "#/$defs/absent"}), 400, f"{SCHEMA}.$ref"),
    "schema that nothing can satisfy": (schema({"type": "array", "minItems": 9, "maxItems": 1}), 400, SCHEMA),
    "stop token that is not there": ({"stop_token_ids": [9999999]}, 400, "stop_token_ids"),
    "more tokens than the context": ({"min_tokens": 1000000}, 400, "min_tokens"),
    "bias of a token that is not there": ({"logit_bias": {"9999999": 1}}, 400, "logit_bias"),
    "remote picture": (
        showing({"type": "image_url", "image_url": {"url": "http://example.org/cat.png"}}),
        400,
        "messages[0].content[0]",
    ),
    "picture that no patch fits": (showing(image(sliver_png())), 400, ""),
    "broken picture": (showing(image(sliver_png()[:60])), 400, "messages[0].content[0]"),
    "no sound file": (showing(sound(b"RIFF of nothing at all")), 400, "messages[0].content[0]"),
    "empty sound": (showing(sound(b"")), 400, "messages[0].content[0]"),
    "no film": (showing(film(b"\x00\x00\x00\x18ftypmp42" + b"x" * 400)), 400, "messages[0].content[0]"),
}


@pytest.mark.parametrize(("change", "status", "param"), REFUSED.values(), ids=REFUSED.keys())
def test_an_invalid_request_is_rejected_in_openais_format(
    served: RunningServer, change: dict[str, Any], status: int, param: str
) -> None:
    body = {"model": MODEL, "messages": said("hello"), "max_tokens": 4, **change}
    answer = httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert {"message", "type", "param", "code"} <= set(error)
    assert (error["param"] or "").startswith(param), error
    assert not INNARDS.search(answer.text)
    assert not FOREIGN.search(answer.text)


def test_a_prompt_that_is_too_long_because_of_its_media_is_rejected(
    served: RunningServer, recordings: Recordings
) -> None:
    """Each question is 26 tokens; only the engine's processor sees that 8 of them pass the context."""
    parts = [recordings.asked_aloud()] * 8 + [{"type": "text", "text": "a " * 3_950}]
    body = {"model": MODEL, "messages": [{"role": "user", "content": parts}], "max_tokens": 4}
    answer = httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert not FOREIGN.search(answer.text)
    assert not INNARDS.search(answer.text)


def test_a_sound_is_answered_after_a_request_with_it_was_rejected(served: RunningServer) -> None:
    """vLLM rejects the first when its features are prepared; the second once was an error 500."""
    medium = sound(wav(tone(1.0, 16_000, hz=317.0)[None], 16_000))
    refused = showing(medium) | {"logit_bias": {"9999999": 1}}
    for change, status, param in ((refused, 400, "logit_bias"), (showing(medium), 200, None)):
        body = {"model": MODEL, "max_tokens": 4, **change}
        answer = httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=60)
        assert answer.status_code == status, answer.text
        assert answer.json().get("error", {}).get("param") == param


def test_after_all_these_the_next_request_is_served(client: openai.OpenAI, served: RunningServer) -> None:
    assert ask(client, said("Still there?"), seed=1, **SPOKEN).frames > 0
    assert becomes(served.is_idle, 5)
