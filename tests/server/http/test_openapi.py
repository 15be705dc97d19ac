"""The OpenAPI document: every field described, every call with an example that the server really takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from pydantic import BaseModel
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from antiphon_server.http.app import create_app
from antiphon_server.http.openapi.schemas import descriptions
from antiphon_server.http.openapi.yaml_files import load_yaml
from antiphon_server.openai_api.audio.speech import SpeechRequest
from antiphon_server.openai_api.completions import CompletionRequest
from antiphon_server.openai_api.realtime.client_secrets import ClientSecretRequest
from antiphon_server.openai_api.request import ChatRequest
from antiphon_server.openai_api.responses.request import ResponsesRequest
from antiphon_server.openai_api.tokenize import DetokenizeRequest, TokenizeRequest
from tests.echo_engine import EchoEngine, Script
from tests.server.parts import make_service

Document = dict[str, Any]
# Their content is bytes of a file, or text without a form.
WITHOUT_EXAMPLE = ("audio/", "application/octet-stream")
# What each request needs.
REQUESTS: dict[type[BaseModel], Document] = {
    ChatRequest: {"messages": [{"role": "user", "content": "hi"}]},
    ResponsesRequest: {"input": "hi"},
    CompletionRequest: {"prompt": "hi"},
    SpeechRequest: {"input": "hi"},
    TokenizeRequest: {"prompt": "hi"},
    DetokenizeRequest: {"tokens": [1]},
    ClientSecretRequest: {},
}


@pytest_asyncio.fixture(scope="module")
async def text(checkpoint: Path) -> str:
    """It takes 0.2 s to make."""
    transport = httpx.ASGITransport(create_app(make_service(checkpoint, EchoEngine(checkpoint))))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return (await client.get("/openapi.json")).text


@pytest.fixture
def document(text: str) -> Document:
    return json.loads(text)


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def validator(document: Document, schema: Document) -> Draft202012Validator:
    whole = Resource.from_contents(document, default_specification=DRAFT202012)
    registry = Registry().with_resource("urn:document", whole)
    return Draft202012Validator(_rebased(schema), registry=registry)


def _rebased(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _at_document(v) if k == "$ref" else _rebased(v) for k, v in node.items()}
    return [_rebased(one) for one in node] if isinstance(node, list) else node


def _at_document(reference: str) -> str:
    return f"urn:document{reference.removeprefix('urn:document')}"


def data_of(document: Document, content: Document) -> Document:
    """The schema of the data of a stream's events."""
    event = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    data = event["properties"]["data"]
    return data.get("contentSchema") or data["anyOf"][1]["contentSchema"]


def absolute(document: Document) -> Document:
    return _rebased(document)


async def test_every_field_of_every_schema_is_described(document: Document) -> None:
    missing = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, inner in schema.get("properties", {}).items()
        if not inner.get("description")
    ]
    assert missing == []


async def test_every_schema_is_described(document: Document) -> None:
    schemas = document["components"]["schemas"]
    assert [name for name, schema in schemas.items() if not schema.get("description")] == []


async def test_every_field_and_parameter_has_an_example_that_fits(document: Document) -> None:
    """A field that is an object has those of the object's own fields, which the same test sees."""
    whole = absolute(document)
    fields = {f"{schema}.{name}": field for schema, name, field in _fields(document)}
    missing = [name for name, field in fields.items() if not field.get("examples") and not _has_object(field)]
    parameters = {
        f"{name} {one['name']}": {**one["schema"], "examples": [one["example"]] if "example" in one else []}
        for name, operation in operations(document)
        for one in operation.get("parameters", [])
    }
    missing += [name for name, one in parameters.items() if not one["examples"]]
    assert missing == []
    wrong = [
        f"{name}: {problem.message[:200]}"
        for name, field in {**fields, **parameters}.items()
        for example in field.get("examples", [])
        for problem in validator(whole, field).iter_errors(example)
    ]
    assert wrong == []


def _fields(document: Document) -> Iterator[tuple[str, str, Document]]:
    for schema, node in document["components"]["schemas"].items():
        for name, field in node.get("properties", {}).items():
            yield schema, name, field


def _has_object(node: Any) -> bool:
    if isinstance(node, dict):
        return "$ref" in node or any(_has_object(one) for one in node.values())
    return isinstance(node, list) and any(_has_object(one) for one in node)


async def test_every_example_of_a_field_is_taken_by_its_request(document: Document) -> None:
    """Alone beside the fields that each request needs, so no rule between fields is in the way."""
    for model, needed in REQUESTS.items():
        fields = document["components"]["schemas"][model.__name__]["properties"]
        for name, field in fields.items():
            for example in field.get("examples", []):
                model.model_validate({**needed, name: example})


async def test_no_example_is_of_a_field_that_is_gone(document: Document) -> None:
    examples = load_yaml("field_examples.yaml")
    fields = {(schema.partition("-")[0], name) for schema, name, _ in _fields(document)}
    assert examples["*"].keys() - {name for _, name in fields} == set()
    own = {
        (schema, name)
        for schema, one in examples.items()
        for name in one
        if schema not in ("*", "parameters")
    }
    assert own - fields == set()


async def test_every_event_of_every_stream_has_an_example(document: Document) -> None:
    """Each schema of an event, and each kind of event that shares a schema."""
    whole, schemas = absolute(document), document["components"]["schemas"]
    missing = []
    for name, operation in operations(document):
        content = operation["responses"].get("200", {}).get("content", {}).get("text/event-stream")
        if content is None:
            continue
        events = [one for example in content["examples"].values() for one in _events(example["value"])]
        for reference in data_of(document, content)["oneOf"]:
            schema = schemas[reference["$ref"].rpartition("/")[2]]
            fits = [one for one in events if validator(whole, schema).is_valid(one)]
            kinds = schema["properties"].get("type", {}).get("enum", [None])
            missing += [
                f"{name} {schema['title']} {kind}"
                for kind in kinds
                if not any(kind in (None, one.get("type")) for one in fits)
            ]
    assert missing == []


async def test_every_object_is_a_schema_of_its_own(document: Document) -> None:
    """So the test of the fields finds all of them."""

    def nested(node: Any, path: str) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("properties"), dict):
                yield path
            for key, inner in node.items():
                if key not in ("example", "examples"):
                    yield from nested(inner, f"{path}/{key}")
        elif isinstance(node, list):
            for number, inner in enumerate(node):
                yield from nested(inner, f"{path}/{number}")

    schemas = document["components"]["schemas"]
    found = [*nested(document["paths"], "paths")]
    for name, schema in schemas.items():
        found += [path for field in schema.get("properties", {}).values() for path in nested(field, name)]
    assert found == []


async def test_no_description_is_of_a_field_that_is_gone(document: Document) -> None:
    schemas = document["components"]["schemas"]
    fields = {
        (name.partition("-")[0], field)
        for name, one in schemas.items()
        for field in one.get("properties", {})
    }
    names = {field for _, field in fields}
    parameters = {
        one["name"] for _, operation in operations(document) for one in operation.get("parameters", [])
    }
    unused = [name for name in descriptions()["*"] if name not in names]
    unused += [name for name in descriptions()["schemas"] if name not in {one for one, _ in fields}]
    unused += [name for name in descriptions()["parameters"] if name not in parameters]
    unused += [
        f"{name}.{field}"
        for name, texts in descriptions().items()
        if name not in ("*", "parameters", "schemas")
        for field in texts
        if (name, field) not in fields
    ]
    assert unused == []


async def test_every_operation_and_parameter_and_answer_is_described(document: Document) -> None:
    missing = []
    for name, operation in operations(document):
        if not operation.get("summary"):
            missing.append(name)
        missing += [
            f"{name} {one['name']}" for one in operation.get("parameters", []) if not one["description"]
        ]
        missing += [f"{name} {key}" for key, one in operation["responses"].items() if not one["description"]]
    assert missing == []


async def test_every_operation_has_examples_that_fit_their_schemas(document: Document) -> None:
    whole = absolute(document)
    wrong = []
    for name, operation in operations(document):
        for status, media_type, content, example in _examples(operation):
            if example is None:
                if not media_type.startswith(WITHOUT_EXAMPLE):
                    wrong.append(f"{name} {status} {media_type}: no example")
                continue
            if media_type == "text/event-stream":
                problems = [
                    error.message
                    for data in _events(example)
                    for error in validator(whole, data_of(document, content)).iter_errors(data)
                ]
            else:
                problems = [one.message for one in validator(whole, content["schema"]).iter_errors(example)]
            wrong += [f"{name} {status} {media_type}: {problem[:200]}" for problem in problems]
    assert wrong == []


def _examples(operation: Document) -> Iterator[tuple[str, str, Document, Any]]:
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        values = [one["value"] for one in content.get("examples", {}).values()]
        for value in values or [None]:
            yield "request", media_type, content, value
    for status, response in operation["responses"].items():
        for media_type, content in response.get("content", {}).items():
            several = [one["value"] for one in content.get("examples", {}).values()]
            for value in several or [content.get("example")]:
                yield status, media_type, content, value


def _events(stream: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


async def test_every_example_of_a_request_is_answered_as_documented(
    client: httpx.AsyncClient, document: Document, engine: EchoEngine
) -> None:
    engine.script = Script(answer="and so on")
    whole = absolute(document)
    for name, operation in operations(document):
        method, path = name.split()
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            for label, example in content["examples"].items():
                value = example["value"]
                if media_type == "application/json":
                    answer = await client.request(method, path, json=value)
                else:
                    fields = {key: one for key, one in value.items() if key != "file"}
                    file = ("question.wav", b"RIFF....WAVE", "audio/wav")
                    answer = await client.request(method, path, data=fields, files={"file": file})
                if path in ("/v1/files", "/v1/audio/voices"):
                    # Canned bytes are no recording, there is no folder for files, and no voice is made.
                    assert answer.status_code in (400, 503)
                    continue
                assert answer.status_code == 200, (name, label, answer.text)
                _check_answer(whole, operation, answer, f"{name} {label}")


def _check_answer(whole: Document, operation: Document, answer: httpx.Response, name: str) -> None:
    media_type = answer.headers["content-type"].partition(";")[0]
    content = operation["responses"]["200"]["content"][media_type]
    if media_type == "application/json":
        documents, schema = [answer.json()], content["schema"]
    elif media_type == "text/event-stream":
        documents, schema = _events(answer.text), data_of(whole, content)
    else:
        return
    assert documents
    checker = validator(whole, schema)
    for document in documents:
        assert [one.message for one in checker.iter_errors(document)] == [], (name, document)


STREAMS = [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}], "n": 2, "logprobs": True}),
    (
        "/v1/chat/completions",
        {
            "messages": [{"role": "user", "content": "hello there"}],
            "modalities": ["text", "audio"],
            "audio": {"voice": "ethan", "format": "pcm16", "timestamp_granularities": ["word"]},
            "stream_options": {
                "include_usage": True,
                "include_progress": True,
                "continuous_usage_stats": True,
            },
        },
    ),
    (
        "/v1/responses",
        {
            "input": "hello there",
            "modalities": ["text", "audio"],
            "audio": {"voice": "ethan", "format": "pcm16"},
        },
    ),
    ("/v1/responses", {"input": "hello there", "include": ["message.output_text.logprobs"]}),
    ("/v1/completions", {"prompt": ["a", "b"], "logprobs": 2, "stream_options": {"include_usage": True}}),
    (
        "/v1/audio/speech",
        {"input": "hello there", "stream_format": "sse", "timestamp_granularities": ["word"]},
    ),
]


@pytest.mark.parametrize("fails", [False, True], ids=["whole", "cut"])
@pytest.mark.parametrize(("path", "body"), STREAMS)
async def test_every_event_of_a_stream_fits_one_documented_schema(
    client: httpx.AsyncClient, document: Document, engine: EchoEngine, path: str, body: Document, fails: bool
) -> None:
    engine.script = Script(answer="and so on", fault_at=3 if fails else None, progress=(1, 2))
    answer = await client.post(path, json={**body, "stream": True})
    assert answer.status_code == 200
    events = _events(answer.text)
    assert len(events) > (0 if fails else 2)
    content = document["paths"][path]["post"]["responses"]["200"]["content"]["text/event-stream"]
    checker = validator(absolute(document), data_of(document, content))
    for event in events:
        assert [one.message for one in checker.iter_errors(event)] == [], event
    assert ("error" in json.dumps(events[-1])) >= fails


async def test_what_a_schema_accepts_beside_its_fields_is_accepted(
    client: httpx.AsyncClient, document: Document
) -> None:
    schema = document["components"]["schemas"]["ChatRequest"]
    whole = {"messages": [{"role": "user", "content": "hi"}]}
    for extra in ({"user": "me"}, {"echo": False}, {"echo": None}, {"anything": None}, {"max_tokens": -1}):
        assert validator(absolute(document), schema).is_valid({**whole, **extra}), extra
        assert (await client.post("/v1/chat/completions", json={**whole, **extra})).status_code == 200
    for extra in ({"echo": True}, {"anything": 1}, {"max_tokens": -2}, {"stream": "yes"}):
        assert not validator(absolute(document), schema).is_valid({**whole, **extra}), extra
        assert (await client.post("/v1/chat/completions", json={**whole, **extra})).status_code == 400


async def test_an_object_with_a_pattern_of_keys_has_no_other_keys(document: Document) -> None:
    schema = document["components"]["schemas"]["CompletionRequest"]["properties"]["logit_bias"]
    checker = validator(absolute(document), schema)
    assert checker.is_valid({"42": -100})
    assert not checker.is_valid({"x": 1})


async def test_a_key_is_documented_only_where_one_is_needed(document: Document) -> None:
    assert "securitySchemes" not in document["components"]
