"""`POST /v1/chat/completions`, as a client sees it: requests and their answers."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import wave
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from antiphon_server.media.source import MediaSource
from tests.echo_engine import EchoEngine, Script, tone_hz
from tests.server.parts import make_service

URL = "/v1/chat/completions"
SPOKEN = {"modalities": ["text", "audio"], "audio": {"voice": "ethan", "format": "pcm16"}}
WITH_WORDS = {**SPOKEN["audio"], "timestamp_granularities": ["word"]}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'


def said(text: str, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **fields}


async def ask(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refusal(client: httpx.AsyncClient, body: dict[str, Any]) -> tuple[int, str | None]:
    answer = await client.post(URL, json=body)
    return answer.status_code, answer.json()["error"]["param"]


async def stream(client: httpx.AsyncClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await client.post(URL, json={**body, "stream": True})
    assert answer.status_code == 200, answer.text
    frames = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line.startswith("data: ")]
    assert frames.pop() == "[DONE]"
    return [json.loads(frame) for frame in frames]


def deltas_of(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]


async def test_a_text_answer_in_openais_shape(client: httpx.AsyncClient) -> None:
    answer = await ask(client, said("hello world"))
    assert answer["object"] == "chat.completion"
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "hello world", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]


async def test_a_spoken_answer_has_a_transcript_and_the_engines_sound(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    answer = await ask(client, said("hello world", **SPOKEN))
    message = answer["choices"][0]["message"]
    assert message["content"] is None
    assert message["audio"]["transcript"] == "hello world"
    assert base64.b64decode(message["audio"]["data"]) == engine.spoken[answer["id"]]
    assert message["audio"]["expires_at"] > answer["created"]


async def test_sound_comes_as_wav_where_no_format_is_asked_for(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    answer = await ask(client, said("hello", modalities=["text", "audio"]))
    data = base64.b64decode(answer["choices"][0]["message"]["audio"]["data"])
    with wave.open(io.BytesIO(data)) as file:
        assert file.readframes(file.getnframes()) == engine.spoken[answer["id"]]


@pytest.mark.parametrize("stream_it", [False, True])
async def test_usage_counts_text_frames_and_each_kind_of_media(
    client: httpx.AsyncClient, stream_it: bool
) -> None:
    parts = [
        {"type": "text", "text": "hello world"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "data:,"}},
        {"type": "video_url", "video_url": {"url": "data:,"}},
    ]
    body = {"messages": [{"role": "user", "content": parts}], **SPOKEN}
    if stream_it:
        chunks = await stream(client, {**body, "stream_options": {"include_usage": True}})
        usage = chunks[-1]["usage"]
    else:
        usage = (await ask(client, body))["usage"]
    prompt, completion = usage["prompt_tokens_details"], usage["completion_tokens_details"]
    assert (prompt["audio_tokens"], prompt["image_tokens"], prompt["video_tokens"]) == (26, 4, 8)
    assert (completion["text_tokens"], completion["audio_tokens"]) == (3, 6)
    assert usage["prompt_tokens"] == 26 + 4 + 8 + prompt["text_tokens"]
    assert usage["completion_tokens"] == 9
    assert usage["total_tokens"] == usage["prompt_tokens"] + 9


async def test_usage_is_right_where_the_answer_is_cut_off(client: httpx.AsyncClient) -> None:
    answer = await ask(client, said("hello world", max_completion_tokens=2, **SPOKEN))
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens_details"]["text_tokens"] == 2
    assert answer["usage"]["completion_tokens_details"]["audio_tokens"] == 4


async def test_speech_that_reaches_its_limit_ends_for_length(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    engine.script = Script(max_frames=3)
    answer = await ask(client, said("hello world", **SPOKEN))
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens_details"]["audio_tokens"] == 3


async def test_streaming_wav_is_dashscopes_habit_and_gets_bare_samples(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    chunks = await stream(
        client, said("hello", modalities=["text", "audio"], audio={"voice": "Ethan", "format": "wav"})
    )
    deltas = deltas_of(chunks)
    assert "".join(delta.get("content") or "" for delta in deltas) == "hello"
    data = "".join(delta.get("audio", {}).get("data", "") for delta in deltas)
    assert base64.b64decode(data) == engine.spoken[chunks[0]["id"]]


@pytest.mark.parametrize(
    ("audio_format", "magic"), [("flac", b"fLaC"), ("opus", b"OggS"), ("mp3", b"\xff"), ("aac", b"\xff")]
)
async def test_other_formats_stream_as_one_file_in_pieces(
    client: httpx.AsyncClient, audio_format: str, magic: bytes
) -> None:
    deltas = deltas_of(
        await stream(client, said("hello", modalities=["text", "audio"], audio={"format": audio_format}))
    )
    data = base64.b64decode(
        "".join(delta.get("audio", {}).get("data", "") for delta in deltas), validate=True
    )
    assert data.startswith(magic)
    assert "".join(delta.get("audio", {}).get("transcript", "") for delta in deltas) == "hello"


async def test_the_union_dialect_is_a_setting(checkpoint: Path) -> None:
    app = create_app(make_service(checkpoint, server={"dialect": "union"}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        chunks = await stream(client, said("hello", **SPOKEN))
    assert {chunk["modality"] for chunk in chunks} == {"text", "audio"}
    assert "".join(delta.get("content") or "" for delta in deltas_of(chunks)) == "hello"


async def test_a_later_turn_can_refer_to_a_spoken_answer_by_id(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    audio = (await ask(client, said("the first answer", **SPOKEN)))["choices"][0]["message"]["audio"]
    await ask(
        client,
        {
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "audio": {"id": audio["id"]}},
                {"role": "user", "content": "y"},
            ]
        },
    )
    prompt = engine._tokenizer.decode(list(engine.requests[-1].prompt_token_ids), skip_special_tokens=False)
    assert "<|im_start|>assistant\nthe first answer<|im_end|>" in prompt


async def test_an_unknown_spoken_answer_is_refused(client: httpx.AsyncClient) -> None:
    messages = [{"role": "assistant", "audio": {"id": "audio_x"}}, {"role": "user", "content": "y"}]
    assert await refusal(client, {"messages": messages}) == (400, "messages[0].audio.id")


@pytest.mark.parametrize("stream_it", [False, True])
async def test_a_tool_call_is_taken_out_of_the_text(client: httpx.AsyncClient, stream_it: bool) -> None:
    body = said(f"Let me see. {CALL}", tools=TOOLS)
    if stream_it:
        chunks = await stream(client, body)
        calls = [call for delta in deltas_of(chunks) for call in delta.get("tool_calls", [])]
        text = "".join(delta.get("content") or "" for delta in deltas_of(chunks))
        reason = chunks[-1]["choices"][0]["finish_reason"]
        assert calls[0].pop("index") == 0
    else:
        choice = (await ask(client, body))["choices"][0]
        calls, text = choice["message"]["tool_calls"], choice["message"]["content"]
        reason = choice["finish_reason"]
    assert [call["function"] for call in calls] == [{"name": "add", "arguments": '{"a": 1}'}]
    assert (text, reason) == ("Let me see.", "tool_calls")


@pytest.mark.parametrize("stream_it", [False, True])
async def test_who_forbids_parallel_calls_gets_the_first(client: httpx.AsyncClient, stream_it: bool) -> None:
    body = said(f"{CALL}{CALL}", tools=TOOLS, parallel_tool_calls=False)
    if stream_it:
        calls = [
            call for delta in deltas_of(await stream(client, body)) for call in delta.get("tool_calls", [])
        ]
    else:
        calls = (await ask(client, body))["choices"][0]["message"]["tool_calls"]
    assert len(calls) == 1


async def test_without_tools_the_same_text_is_text(client: httpx.AsyncClient) -> None:
    for body in (said(CALL), said(CALL, tools=TOOLS, tool_choice="none")):
        message = (await ask(client, body))["choices"][0]["message"]
        assert (message["content"], message.get("tool_calls")) == (CALL, None)


async def test_a_forced_call_is_held_to_the_tools_schema(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    body = said('{"name": "add", "arguments": {"a": 2}}', tools=TOOLS, tool_choice="required")
    choice = (await ask(client, body))["choices"][0]
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a": 2}'}
    schema = json.loads(engine.schema_text())
    assert schema["properties"] == {"name": {"const": "add"}, "arguments": {"type": "object"}}


async def test_a_json_schema_reaches_the_engine(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    body = said("x", response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})
    await ask(client, body)
    assert json.loads(engine.schema_text()) == schema


async def test_sampling_reaches_the_engine(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    numbers = {"temperature": 0.5, "top_p": 0.9, "top_k": 20, "seed": 7, "talker_seed": 8}
    await ask(client, said("x", stop="z", logit_bias={"5": -1}, **numbers, **SPOKEN))
    request = engine.requests[-1]
    text = request.text
    assert (text.temperature, text.top_p, text.top_k, text.seed) == (0.5, 0.9, 20, 7)
    assert (text.stop, text.logit_bias) == (("z",), ((5, -1.0),))
    assert request.speech is not None
    assert (request.speech.voice, request.speech.seed, request.speech.temperature) == ("ethan", 8, 0.9)


async def test_what_a_request_leaves_open_is_drawn_as_the_makers_recommend(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    recommended = engine.card.sampling
    assert (recommended.temperature, recommended.top_p, recommended.top_k) == (0.7, 0.8, 20)
    await ask(client, said("x", top_p=1.0))
    text = engine.requests[-1].text
    assert (text.temperature, text.top_p, text.top_k) == (0.7, 1.0, 20)


async def test_keys_do_not_share_a_prefix_cache(checkpoint: Path, engine: EchoEngine) -> None:
    app = create_app(make_service(checkpoint, engine, server={"api_keys": ("one", "two")}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        for key in ("one", "two", "one"):
            client.headers["authorization"] = f"Bearer {key}"
            await ask(client, said("hello"))
    salts = [request.cache_salt for request in engine.requests]
    assert salts[0] == salts[2] != salts[1]
    assert all(salt and len(salt) <= 128 and "one" not in salt for salt in salts)


async def test_the_schema_of_the_body_resolves_in_the_openapi_document(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [ref for inner in node.values() for ref in references(inner)]
        return [ref for inner in node for ref in references(inner)] if isinstance(node, list) else []

    operation = document["paths"][URL]["post"]
    pointed_at = references(document)
    assert len(pointed_at) > 200
    for pointer in pointed_at:
        node = document
        for step in pointer.removeprefix("#/").split("/"):
            node = node[step.replace("~1", "/")]
    assert "text/event-stream" in operation["responses"]["200"]["content"]


async def test_logprobs_in_openais_shape(client: httpx.AsyncClient) -> None:
    answer = await ask(client, said("hello", logprobs=True, top_logprobs=2))
    first = answer["choices"][0]["logprobs"]["content"][0]
    assert (first["token"], first["bytes"]) == ("hell", list(b"hell"))
    assert [top["token"] for top in first["top_logprobs"]] == ["alt0", "alt1"]


async def test_several_choices_share_one_prompt(client: httpx.AsyncClient) -> None:
    answer = await ask(client, said("hello", n=3))
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["hello"] * 3
    assert answer["usage"]["completion_tokens"] == 6


async def test_media_parts_reach_the_loader_with_their_limits(
    client: httpx.AsyncClient, service: Service
) -> None:
    parts = [
        {"type": "video_url", "video_url": {"url": "data:v"}, "fps": 0.5, "max_pixels": 4096},
        {"type": "video", "video": ["data:1", "data:2"], "use_audio_in_video": True},
        {"type": "audio_url", "audio_url": {"url": "data:a"}},
    ]
    await ask(client, {"messages": [{"role": "user", "content": parts}], "use_audio_in_video": False})
    video, frames, audio = service.media.loads[0]  # type: ignore[attr-defined]
    assert video == MediaSource(
        "video", ("data:v",), "messages[0].content[0]", use_audio=False, fps=0.5, max_pixels=4096
    )
    assert (frames.is_frame_list, frames.use_audio, len(frames.locations)) == (True, True, 2)
    assert (audio.kind, audio.param) == ("audio", "messages[0].content[2]")


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "gpt-x"}, 404, "model"),
        ({"audio": {"voice": "ethan"}}, 400, "modalities"),
        ({**SPOKEN, "n": 2}, 400, "n"),
        ({**SPOKEN, "tools": TOOLS, "audio": WITH_WORDS}, 400, "audio"),
        ({**SPOKEN, "audio": {"voice": "etan"}}, 400, "audio.voice"),
        ({"top_logprobs": 2}, 400, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options"),
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}},
            400,
            "tool_choice",
        ),
        ({"tool_choice": "required"}, 400, "tool_choice"),
        ({"messages": [{"role": "user", "content": "x " * 5_000}]}, 400, "messages"),
        ({"messages": [{"role": "assistant"}]}, 400, "messages[0].content"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_before_any_work(
    client: httpx.AsyncClient, engine: EchoEngine, fields: dict[str, Any], status: int, param: str
) -> None:
    assert await refusal(client, {**said("x"), **fields}) == (status, param)
    assert engine.started == 0


async def test_a_model_without_a_voice_refuses_to_speak(checkpoint: Path) -> None:
    app = create_app(make_service(checkpoint, EchoEngine(checkpoint, speaks=False)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        assert await refusal(client, said("x", **SPOKEN)) == (400, "modalities")


@pytest.mark.parametrize(
    ("asked", "voice"),
    [("Chelsie", "chelsie"), ({"id": "aiden"}, "aiden"), ("alloy", "ethan"), ("ash", "chelsie")],
)
async def test_the_voice_is_honoured_in_any_spelling(
    client: httpx.AsyncClient, engine: EchoEngine, asked: Any, voice: str
) -> None:
    await ask(client, said("x", modalities=["text", "audio"], audio={"voice": asked, "format": "pcm16"}))
    speech = engine.requests[-1].speech
    assert speech is not None
    assert speech.voice == voice


@pytest.mark.promise("R21")
async def test_concurrent_answers_keep_their_own_tones(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    """Each stream has its own tone; its client receives that tone and no other."""
    engine.script = Script(delay_s=0.001)

    async def heard(number: int) -> tuple[str, float]:
        voice = ("ethan", "chelsie", "aiden")[number % 3]
        chunks = await stream(
            client,
            said(
                "a longer answer " * 2,
                modalities=["text", "audio"],
                audio={"voice": voice, "format": "pcm16"},
            ),
        )
        data = "".join(delta.get("audio", {}).get("data", "") for delta in deltas_of(chunks))
        samples = np.frombuffer(base64.b64decode(data), "<i2").astype(float)
        power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
        hz = tone_hz(chunks[0]["id"], voice)
        near = np.abs(np.fft.rfftfreq(len(samples), 1 / 24_000) - hz) < 10
        return chunks[0]["id"], float(power[near].sum() / power.sum())

    results = await asyncio.gather(*(heard(number) for number in range(48)))
    assert len({answer_id for answer_id, _ in results}) == 48
    assert min(purity for _, purity in results) > 0.999
