"""`/v1/responses` as OpenAI's Python client reads it: whole, streamed, parsed, and with its helpers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from antiphon_server.chat.service import Service
from antiphon_server.http.app import create_app
from tests.echo_engine import EchoEngine, Script
from tests.server.routes.responses_client import ADD, CALL, SPOKEN

TOOLS: Any = [{**ADD, "strict": True}]


class Answer(BaseModel):
    colour: str
    count: int


@pytest.fixture
async def openai_client(service: Service) -> AsyncIterator[openai.AsyncOpenAI]:
    transport = httpx.ASGITransport(create_app(service))
    async with httpx.AsyncClient(transport=transport) as http:
        yield openai.AsyncOpenAI(api_key="x", base_url="http://localhost/v1", http_client=http, max_retries=0)


async def test_it_reads_a_whole_answer(openai_client: openai.AsyncOpenAI) -> None:
    answer = await openai_client.responses.create(model="echo", input="hello world")
    assert (answer.output_text, answer.status) == ("hello world", "completed")
    assert answer.usage is not None
    assert answer.usage.input_tokens_details.cached_tokens == 0


async def test_it_reads_a_stream(openai_client: openai.AsyncOpenAI) -> None:
    stream = await openai_client.responses.create(model="echo", input="hello world", stream=True)
    events = [event async for event in stream]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == "hello world"
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == text


async def test_its_stream_helper_follows_text_and_calls(
    openai_client: openai.AsyncOpenAI, engine: EchoEngine
) -> None:
    engine.script = Script(answer=f"I add. {CALL}")
    async with openai_client.responses.stream(model="echo", input="x", tools=TOOLS) as stream:
        snapshots = [event.snapshot async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert snapshots[-1] == final.output_text == "I add."
    call = final.output[-1]
    assert call.type == "function_call"
    assert (call.name, call.arguments) == ("add", '{"a": 1}')
    again: Any = [*final.output, {"type": "function_call_output", "call_id": call.call_id, "output": "1"}]
    engine.script = Script(answer="It is 1.")
    answer = await openai_client.responses.create(model="echo", input=again, tools=TOOLS)
    assert answer.output_text == "It is 1."


async def test_it_parses_an_answer_with_a_schema(
    openai_client: openai.AsyncOpenAI, engine: EchoEngine
) -> None:
    engine.script = Script(answer='{"colour": "red", "count": 2}')
    answer = await openai_client.responses.parse(model="echo", input="x", text_format=Answer)
    assert answer.output_parsed == Answer(colour="red", count=2)
    async with openai_client.responses.stream(model="echo", input="x", text_format=Answer) as stream:
        assert (await stream.get_final_response()).output_parsed == answer.output_parsed


async def test_it_hears_a_spoken_stream(openai_client: openai.AsyncOpenAI) -> None:
    stream = await openai_client.responses.create(model="echo", input="hello", stream=True, extra_body=SPOKEN)
    events = [event async for event in stream]
    said = "".join(event.delta for event in events if event.type == "response.audio.transcript.delta")
    assert said == "hello"
    assert any(event.type == "response.audio.delta" and event.delta for event in events)


async def test_it_raises_our_refusals(openai_client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await openai_client.responses.create(model="echo", input="x", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"
