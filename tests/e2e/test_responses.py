"""`/v1/responses` of a real server by the `openai` client: as chat, whole, streamed, spoken, by schema."""

from __future__ import annotations

import base64
import json
from typing import Any

import openai
import pytest

from antiphon_executor.interface.events import SAMPLES_PER_FRAME
from tests.e2e.answers import LOOK_AHEAD_SAMPLES, ask, said
from tests.e2e.recordings import Recordings
from tests.e2e.server_process import MODEL

pytestmark = pytest.mark.engine

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"enum": [1, 2]}},
    "required": ["colour", "count"],
    "additionalProperties": False,
}
SPOKEN: dict[str, Any] = {"modalities": ["text", "audio"], "audio": {"voice": "ethan"}}
LIMITS: dict[str, Any] = {"max_output_tokens": 24, "temperature": 0}


def test_the_answer_is_that_of_chat_whole_and_streamed(client: openai.OpenAI) -> None:
    question = "Tell me about the green river."
    chat = ask(client, said(question), max_tokens=24, temperature=0)
    whole = client.responses.create(model=MODEL, input=question, **LIMITS)
    with client.responses.stream(model=MODEL, input=question, **LIMITS) as stream:
        events = list(stream)
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == whole.output_text == chat.text
    assert whole.status == ("incomplete" if chat.finish_reason == "length" else "completed")
    assert events[-1].type == f"response.{whole.status}"
    assert whole.usage is not None
    assert whole.usage.input_tokens == chat.usage.prompt_tokens
    assert whole.usage.output_tokens == chat.usage.completion_tokens


def test_a_schema_is_followed_and_a_call_required(client: openai.OpenAI) -> None:
    text: Any = {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}
    answer = client.responses.create(model=MODEL, input="Which colour?", text=text, temperature=0)
    assert json.loads(answer.output_text).keys() == SCHEMA["properties"].keys()
    tools: Any = [{"type": "function", "name": "paint", "parameters": SCHEMA, "strict": True}]
    called = client.responses.create(model=MODEL, input="Paint it.", tools=tools, tool_choice="required")
    [call] = called.output
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments).keys()) == ("paint", SCHEMA["properties"].keys())


def test_a_spoken_question_is_answered_aloud(client: openai.OpenAI, recordings: Recordings) -> None:
    asked: Any = [{"role": "user", "content": [recordings.asked_aloud()]}]
    events = list(
        client.responses.create(
            model=MODEL, input=asked, stream=True, max_output_tokens=12, extra_body=SPOKEN
        )
    )
    heard = "".join(event.delta for event in events if event.type == "response.audio.delta")
    words = "".join(event.delta for event in events if event.type == "response.audio.transcript.delta")
    end: Any = events[-1]
    [part] = end.response.output[0].content
    assert part.transcript == words
    frames = end.response.usage.output_tokens_details.audio_tokens
    assert len(base64.b64decode(heard)) // 2 == frames * SAMPLES_PER_FRAME - LOOK_AHEAD_SAMPLES
