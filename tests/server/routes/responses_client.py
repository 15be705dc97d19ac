"""Requests to `/v1/responses` of the tests, and the events that they are answered with."""

from __future__ import annotations

import json
from typing import Any

import httpx

URL = "/v1/responses"
SPOKEN = {"modalities": ["text", "audio"], "audio": {"voice": "ethan", "format": "pcm16"}}
ADD = {"type": "function", "name": "add", "parameters": {"type": "object"}}
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
PNG = "data:image/png;base64,iVBORw0KGgo="


async def respond(client: httpx.AsyncClient, given: Any, **body: Any) -> dict[str, Any]:
    answer = await client.post(URL, json={"input": given, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def events_of(client: httpx.AsyncClient, given: Any, **body: Any) -> list[dict[str, Any]]:
    answer = await client.post(URL, json={"input": given, **body, "stream": True})
    assert answer.status_code == 200, answer.text
    return read_events(answer.text)


def read_events(text: str) -> list[dict[str, Any]]:
    """Each event names its type twice, and the numbers count from 0."""
    events = []
    for block in text.split("\n\n"):
        if block.startswith("event: "):
            kind, data = block.split("\n")
            events.append(json.loads(data.removeprefix("data: ")))
            assert kind == f"event: {events[-1]['type']}"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def kinds_of(events: list[dict[str, Any]]) -> list[str]:
    """The types of the events without `response.`, equal ones that follow each other once."""
    kinds = [event["type"].removeprefix("response.") for event in events]
    return [kind for number, kind in enumerate(kinds) if kinds[number - 1 : number] != [kind]]


def without_ids(output: Any) -> Any:
    """The output of two answers is equal but for the ids."""
    if isinstance(output, list):
        return [without_ids(one) for one in output]
    if isinstance(output, dict):
        return {name: without_ids(value) for name, value in output.items() if not name.endswith("id")}
    return output
