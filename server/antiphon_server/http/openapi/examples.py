"""The examples of the OpenAPI document: of calls, of event streams and of single fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from antiphon_server.http.openapi.yaml_files import load_yaml

_Node = dict[str, Any]
_EVENTS = "text/event-stream"
# The name of an event is sent only by the Responses API.
_NAMED = "response."


def add_call_examples(name: str, operation: _Node) -> None:
    """`name`: the method and path of the operation."""
    examples, streams = load_yaml("examples.yaml").get(name, {}), load_yaml("events.yaml").get(name, {})
    given = examples.get("request", {})
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        content["examples"] = _by_name(given.get(media_type, given))
    for status, response in operation["responses"].items():
        answers = examples.get("answer" if status == "200" else status, {})
        for media_type, content in response.get("content", {}).items():
            if media_type in answers:
                content["example"] = answers[media_type]
            elif media_type == _EVENTS:
                content["examples"] = _by_name({label: _stream(one) for label, one in streams.items()})
    texts = load_yaml("field_examples.yaml")["parameters"]
    for parameter in operation.get("parameters", []):
        if parameter["name"] in texts:
            parameter["example"] = texts[parameter["name"]]


def add_field_example(schema: str, field: str, node: _Node) -> None:
    """`node`: the schema of a field. A field that is an object has the examples of the object's fields."""
    texts = load_yaml("field_examples.yaml")
    own, fixed = texts.get(schema, {}), _fixed_values(node)
    if field in own:
        node["examples"] = [own[field]]
    elif fixed:
        node["examples"] = fixed[:1]
    elif field in texts["*"] and not _has_object(node):
        node["examples"] = [texts["*"][field]]


def _by_name(values: _Node) -> _Node:
    return {key: {"summary": key, "value": value} for key, value in values.items()}


def _stream(events: Sequence[_Node | str]) -> str:
    return "".join(_event(one) for one in events)


def _event(data: _Node | str) -> str:
    if isinstance(data, str):
        return f"data: {data}\n\n"
    kind = str(data.get("type", ""))
    text = f"data: {json.dumps(data, separators=(',', ':'))}\n\n"
    return f"event: {kind}\n{text}" if kind.startswith(_NAMED) else text


def _fixed_values(node: _Node) -> list[Any]:
    """All values that a field can have, null last; none if they cannot be listed."""
    if "const" in node:
        return [node["const"]]
    if "enum" in node:
        return list(node["enum"])
    if node.get("type") == "null":
        return [None]
    if "items" in node:
        return [[value] for value in _fixed_values(node["items"])]
    branches = [_fixed_values(one) for one in node.get("anyOf") or node.get("oneOf") or []]
    return [value for branch in branches for value in branch] if all(branches) else []


def _has_object(node: Any) -> bool:
    if isinstance(node, dict):
        return "$ref" in node or any(_has_object(one) for one in node.values())
    return isinstance(node, list) and any(_has_object(one) for one in node)
