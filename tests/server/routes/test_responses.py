"""`POST /v1/responses`, as a client sees it: what may be asked, and what comes back in one body."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from antiphon_server.errors import BadRequest
from antiphon_server.http.app import create_app
from tests.echo_engine import EchoEngine, Script
from tests.server.parts import CannedMedia, make_service
from tests.server.routes.responses_client import ADD, CALL, PNG, SPOKEN, URL, respond

USER = {"role": "user", "content": "hello world"}
FILE = {"type": "input_file", "file_id": "file-unknown", "filename": "x.png"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FORMAT = {"type": "json_schema", "name": "x", "schema": SCHEMA}
AGENTS: dict[str, Any] = {
    "model": "echo",
    "input": [{"content": "hello", "role": "user"}],
    "instructions": "Be brief.",
    "include": [],
    "tools": [{**ADD, "description": "Adds.", "strict": True}],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "truncation": "disabled",
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"verbosity": "low"},
    "store": False,
    "metadata": {"trace": "x"},
}
PYDANTIC: dict[str, Any] = {
    "model": "echo",
    "input": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}],
    "include": ["reasoning.encrypted_content"],
    "stream": False,
    "tools": [ADD],
    "tool_choice": "required",
    "max_output_tokens": 40,
    "user": "someone",
    "service_tier": "auto",
    "prompt_cache_key": "x",
}
VERCEL: dict[str, Any] = {
    "model": "echo",
    "input": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "hello"}]},
    ],
    "temperature": 0.5,
    "text": {
        "format": {
            "type": "json_schema",
            "strict": False,
            "name": "response",
            "description": "x",
            "schema": SCHEMA,
        }
    },
    "top_logprobs": None,
    "safety_identifier": "x",
}


@pytest.mark.parametrize("body", [AGENTS, PYDANTIC, VERCEL], ids=["agents", "pydantic", "vercel"])
async def test_the_requests_of_agent_libraries_are_answered(
    client: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    answer = await client.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "completed"


async def test_a_text_is_answered_in_openais_format(client: httpx.AsyncClient) -> None:
    answer = await respond(client, "hello world", metadata={"for": "a test"}, instructions="Repeat.")
    assert (answer["object"], answer["id"][:5], answer["model"]) == ("response", "resp_", "echo")
    assert (answer["status"], answer["error"], answer["incomplete_details"]) == ("completed", None, None)
    assert (answer["metadata"], answer["instructions"]) == ({"for": "a test"}, "Repeat.")
    assert (answer["store"], answer["background"], answer["previous_response_id"]) == (False, False, None)
    # What the model's card recommends, because the request has none.
    assert (answer["temperature"], answer["top_p"]) == (0.7, 0.8)
    [message] = answer["output"]
    assert message.pop("id").startswith("msg_")
    assert message == {
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "hello world", "annotations": [], "logprobs": []}],
    }
    usage = answer["usage"]
    assert usage["output_tokens"] == usage["output_tokens_details"]["text_tokens"] == 3
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


async def test_settings_of_the_request_are_shown(client: httpx.AsyncClient) -> None:
    form = {**FORMAT, "strict": True, "description": None}
    answer = await respond(
        client, "{}", tools=[ADD], tool_choice="none", text={"format": form}, temperature=0, top_p=1
    )
    assert answer["text"] == {"format": form}
    assert answer["tools"] == [{**ADD, "description": None, "strict": None}]
    assert (answer["tool_choice"], answer["temperature"], answer["top_p"]) == ("none", 0, 1)


CONVERSATION: list[dict[str, Any]] = [
    {"role": "developer", "content": [{"type": "input_text", "text": one} for one in ("Be ", "kind.")]},
    USER,
    {"type": "reasoning", "id": "rs", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
    {
        "type": "message",
        "id": "msg_1",
        "status": "completed",
        "role": "assistant",
        "content": [
            {"type": "output_text", "text": "I ask.", "annotations": [], "logprobs": []},
            {"type": "refusal", "refusal": " No."},
        ],
    },
    {"type": "function_call", "id": "f", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'},
    {"type": "function_call", "call_id": "c2", "name": "add", "arguments": '{"a": 2}'},
    {"type": "function_call_output", "call_id": "c1", "output": "one"},
    {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
    {"role": "assistant", "content": "Three."},
    {"role": "user", "content": [{"type": "input_text", "text": "thanks"}]},
]  # fmt: skip


def chat_call(name: str, arguments: str) -> dict[str, Any]:
    return {"id": name, "type": "function", "function": {"name": "add", "arguments": arguments}}


async def test_the_prompt_is_that_of_the_same_chat(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    await respond(client, CONVERSATION, instructions="Repeat.", tools=[ADD])
    messages = [
        {"role": "system", "content": "Repeat."},
        {"role": "developer", "content": "Be kind."},
        USER,
        {
            "role": "assistant",
            "content": "I ask. No.",
            "reasoning": "Hm.",
            "tool_calls": [chat_call("c1", '{"a": 1}'), chat_call("c2", '{"a": 2}')],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": "two"},
        {"role": "assistant", "content": "Three."},
        {"role": "user", "content": "thanks"},
    ]
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    answer = await client.post("/v1/chat/completions", json={"messages": messages, "tools": [tool]})
    assert answer.status_code == 200, answer.text
    ours, chats = engine.requests
    assert ours.prompt_token_ids == chats.prompt_token_ids
    assert ours.text == chats.text


async def test_the_output_can_be_sent_back_as_it_is(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    engine.script = Script(answer=f"I ask. {CALL}")
    output = (await respond(client, "x", tools=[ADD]))["output"]
    result = {"type": "function_call_output", "call_id": output[1]["call_id"], "output": "3"}
    answer = await respond(client, [USER, *output, result], tools=[ADD])
    assert answer["status"] == "completed"


async def test_media_parts_are_read(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    picture = {"type": "input_image", "image_url": PNG, "detail": "auto"}
    parts = [{"type": "input_text", "text": "look and listen"}, picture, sound]
    answer = await respond(client, [{"role": "user", "content": parts}])
    details = answer["usage"]["input_tokens_details"]
    assert (details["image_tokens"], details["audio_tokens"]) == (4, 13)
    [request] = engine.requests
    assert (len(request.media.images), len(request.media.audios)) == (1, 1)


async def test_a_function_can_return_a_picture(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    parts = [{"type": "input_text", "text": "the screen: "}, {"type": "input_image", "image_url": PNG}]
    output = {"type": "function_call_output", "call_id": "c1", "output": parts}
    await respond(client, [USER, CONVERSATION[4], output], tools=[ADD])
    assert len(engine.requests[0].media.images) == 1


class _NoMedia(CannedMedia):
    async def load(self, sources: Any, hold: Any, text_tokens: int = 0, owner: str = "", *_: Any) -> Any:
        raise BadRequest(f"'{sources[0].param}' is no picture.", param=sources[0].param)


async def test_errors_after_the_check_name_the_clients_fields(checkpoint: Path, engine: EchoEngine) -> None:
    service = dataclasses.replace(make_service(checkpoint, engine), media=_NoMedia())
    content = [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": PNG}]
    output = {"type": "function_call_output", "call_id": "c1", "output": content}
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for item, field in (({"role": "user", "content": content}, "content"), (output, "output")):
            body = {"instructions": "y", "input": [CONVERSATION[4], item]}
            error = (await client.post(URL, json=body)).json()["error"]
            assert error["param"] == f"input[1].{field}[1]"
            assert error["message"] == f"'input[1].{field}[1]' is no picture."


async def test_functions_are_called(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    engine.script = Script(answer=f"I add. {CALL}\n{CALL}")
    message, *calls = (await respond(client, "x", tools=[ADD]))["output"]
    assert message["content"][0]["text"] == "I add."
    for call in calls:
        assert call.pop("id").startswith("fc_")
        assert call.pop("call_id").startswith("call_")
    same = {"type": "function_call", "status": "completed", "name": "add", "arguments": '{"a": 1}'}
    assert calls == [same, same]


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "name": "add"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "add"}]},
    ],
    ids=["required", "named", "allowed"],
)
async def test_a_call_can_be_required(client: httpx.AsyncClient, engine: EchoEngine, choice: Any) -> None:
    engine.script = Script(answer=json.dumps({"name": "add", "arguments": {"a": 1}}))
    body = {"tools": [ADD], "tool_choice": choice}
    [call] = (await respond(client, "x", **body))["output"]
    assert (call["name"], json.loads(call["arguments"])) == ("add", {"a": 1})
    assert '"add"' in engine.schema_text()
    cut = await respond(client, "x", **body, max_output_tokens=9)
    assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    [call] = cut["output"]
    assert (call["status"], '{"a": 1}'.startswith(call["arguments"])) == ("incomplete", True)


async def test_a_schema_is_held(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    await respond(client, "{}", text={"format": FORMAT, "verbosity": "high"})
    assert json.loads(engine.schema_text()) == SCHEMA
    await respond(client, "{}", text={"format": {"type": "json_object"}})
    assert json.loads(engine.schema_text()) == {"type": "object"}


async def test_log_probabilities_come_with_the_text(client: httpx.AsyncClient) -> None:
    include = ["message.output_text.logprobs"]
    [message] = (await respond(client, "hello world", include=include, top_logprobs=2))["output"]
    [part] = message["content"]
    assert "".join(one["token"] for one in part["logprobs"]) == part["text"]
    assert all(len(one["top_logprobs"]) == 2 for one in part["logprobs"])


async def test_a_spoken_answer_is_one_part(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    answer = await respond(client, "good morning", **SPOKEN)
    [message] = answer["output"]
    [part] = message["content"]
    assert (part["type"], part["transcript"], part["format"]) == ("output_audio", "good morning", "pcm16")
    assert base64.b64decode(part["data"]) == engine.spoken[answer["id"]]
    assert part["words"] is None
    assert answer["usage"]["output_tokens_details"]["audio_tokens"] > 0
    for sent in (part, {"type": "output_audio", "id": part["id"]}):
        back = [USER, {"role": "assistant", "content": [sent]}, USER]
        await respond(client, back)
    with_transcript, by_id = list(engine.requests)[1:]
    assert with_transcript.prompt_token_ids == by_id.prompt_token_ids


async def test_words_have_times_if_asked(client: httpx.AsyncClient) -> None:
    audio = {"format": "wav", "timestamp_granularities": ["word"]}
    answer = await respond(client, "good morning", modalities=["text", "audio"], audio=audio)
    words = answer["output"][0]["content"][0]["words"]
    assert "".join(word["word"] for word in words) == "good morning"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": "x", "model": "other"}, "model"),
        ({"input": "x", "store": True}, "store"),
        ({"input": "x", "background": True}, "background"),
        ({"input": "x", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": "x", "conversation": "conv_1"}, "conversation"),
        ({"input": "x", "prompt": {"id": "x"}}, "prompt"),
        ({"input": "x", "truncation": "auto"}, "truncation"),
        ({"input": "x", "n": 2}, "n"),
        ({"input": "x", "messages": []}, "messages"),
        ({"input": "x", "max_tokens": 5}, "max_tokens"),
        ({"input": "x", "include": ["everything"]}, "include[0]"),
        ({"input": "x", "top_logprobs": 2}, "top_logprobs"),
        ({"input": "x", "tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"input": "x", "tool_choice": "required"}, "tool_choice"),
        ({"input": "x", "metadata": {"a": 1}}, "metadata.a"),
        ({"input": "x", "text": {"format": {"type": "grammar"}}}, "text.format"),
        ({"input": "x" * 100_000}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"input": [USER, {"type": "computer_call"}]}, "input[1]"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0]"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": []}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_video"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].file_id"),
        ({"input": [USER, {"role": "user", "content": [FILE]}]}, "input[1].content[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": {}}]}]},
            "input[0].content[0].image_url",
        ),
        (
            {"input": [{"role": "system", "content": [{"type": "input_image", "image_url": PNG}]}]},
            "input[0].content[0].type",
        ),
        (
            {"input": [USER, {"type": "function_call", "call_id": "x", "name": "f", "arguments": "[" * 99}]},
            "input[1].arguments",
        ),
        (
            {"input": [USER, {"role": "assistant", "content": [{"type": "output_audio", "id": "x"}]}]},
            "input[1].audio.id",
        ),
        (
            {"input": "x", "tools": [{**ADD, "parameters": {"pattern": "x"}}], "tool_choice": "required"},
            "tools[0].parameters.pattern",
        ),
        (
            {"input": "x", "text": {"format": {**FORMAT, "schema": {"pattern": "x"}}}},
            "text.format.schema.pattern",
        ),
    ],
)  # fmt: skip
async def test_what_is_not_supported_is_refused_by_name(
    client: httpx.AsyncClient, body: dict[str, Any], param: str
) -> None:
    answer = await client.post(URL, json=body)
    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    "field", ["store", "background", "previous_response_id", "conversation", "prompt", "truncation"]
)
async def test_what_needs_a_store_is_refused_with_a_hint(client: httpx.AsyncClient, field: str) -> None:
    answer = await client.post(URL, json={"input": "x", field: "something"})
    assert answer.json()["error"]["hint"]


async def test_the_schema_describes_the_body_and_the_answer(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"][URL]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/ResponsesRequest"}
    properties = document["components"]["schemas"]["ResponsesRequest"]["properties"]
    assert {"input", "instructions", "tools", "text", "modalities"} <= properties.keys()
    answer = operation["responses"]["200"]["content"]
    assert answer["application/json"]["schema"] == {"$ref": "#/components/schemas/Response"}
    assert "text/event-stream" in answer
