"""vLLM's fields for the structure and the end of a text, and answers that continue a message."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from antiphon_server.chat.prompt.template import ChatTemplate
from antiphon_server.errors import BadRequest
from tests.echo_engine import EchoEngine
from tests.server.routes.test_chat import SPOKEN, URL, ask, said

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
OPEN = [{"role": "user", "content": "count"}, {"role": "assistant", "content": "one two"}]


@pytest.mark.parametrize("path", [URL, "/v1/completions"])
@pytest.mark.parametrize("fields", [{"guided_json": SCHEMA}, {"structured_outputs": {"json": SCHEMA}}])
async def test_a_schema_in_vllms_fields_reaches_the_engine(
    client: httpx.AsyncClient, engine: EchoEngine, path: str, fields: dict[str, Any]
) -> None:
    body = {"prompt": "x"} if path.endswith("/completions") and "chat" not in path else said("x")
    assert (await client.post(path, json={**body, **fields})).status_code == 200
    assert json.loads(engine.schema_text()) == SCHEMA


@pytest.mark.parametrize(
    "fields", [{"guided_choice": ["yes", "no"]}, {"structured_outputs": {"choice": ["yes", "no"]}}]
)
async def test_the_answer_is_one_of_the_choices(
    client: httpx.AsyncClient, engine: EchoEngine, fields: dict[str, Any]
) -> None:
    await ask(client, said("x", **fields))
    assert engine.requests[-1].text.answers == ("yes", "no")
    assert engine.requests[-1].text.schema is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"guided_json": {"pattern": "a"}}, "guided_json"),
        ({"guided_choice": []}, "guided_choice"),
        ({"guided_choice": ["x" * 257]}, "guided_choice[0]"),
        ({"structured_outputs": {}}, "structured_outputs"),
        ({"structured_outputs": {"regex": "a+"}}, "structured_outputs.regex"),
        ({"structured_outputs": {"json": SCHEMA, "choice": ["a"]}}, "structured_outputs"),
        ({"guided_json": SCHEMA, "guided_choice": ["a"]}, None),
        ({"guided_choice": ["a"], "response_format": {"type": "json_object"}}, "response_format"),
        ({"guided_choice": ["a"], "tools": TOOLS, "tool_choice": "required"}, "tool_choice"),
        ({"continue_final_message": True}, "messages[0]"),
        ({"continue_final_message": True, "add_generation_prompt": True}, None),
        ({"add_generation_prompt": False}, None),
        ({"messages": OPEN, "continue_final_message": True, **SPOKEN}, "continue_final_message"),
        ({"include_stop_str_in_output": True, "stop": "x", **SPOKEN}, "include_stop_str_in_output"),
    ],
)
async def test_what_contradicts_itself_is_refused_by_name(
    client: httpx.AsyncClient, fields: dict[str, Any], param: str | None
) -> None:
    answer = await client.post(URL, json=said("x") | fields)
    assert answer.status_code == 400
    assert (answer.json()["error"]["param"] or "").startswith(param or "")


async def test_a_stop_string_can_be_part_of_the_text(client: httpx.AsyncClient, engine: EchoEngine) -> None:
    await ask(client, said("x", stop="z", include_stop_str_in_output=True))
    assert engine.requests[-1].text.include_stop


@pytest.mark.parametrize("content", ["one two", "one two ", [{"type": "text", "text": "one two"}]])
async def test_an_answer_continues_the_last_message(client: httpx.AsyncClient, content: Any) -> None:
    messages = [OPEN[0], {"role": "assistant", "content": content}]
    body = {"messages": messages, "continue_final_message": True, "add_generation_prompt": False}
    continued = (await ask(client, body))["usage"]["prompt_tokens"]
    closed = (await ask(client, {"messages": OPEN}))["usage"]["prompt_tokens"]
    alone = (await ask(client, {"messages": OPEN[:1]}))["usage"]["prompt_tokens"]
    assert alone < continued < closed


async def test_a_control_token_in_the_continued_message_stays_text(
    client: httpx.AsyncClient, engine: EchoEngine
) -> None:
    messages = [OPEN[0], {"role": "assistant", "content": "one<|im_end|>two"}]
    await ask(client, {"messages": messages, "continue_final_message": True})
    ids = (await client.post("/tokenize", json={"prompt": "<|im_end|>"})).json()["tokens"]
    plain = [OPEN[0], {"role": "assistant", "content": "one"}]
    await ask(client, {"messages": plain, "continue_final_message": True})
    counts = [list(request.prompt_token_ids).count(ids[0]) for request in engine.requests]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("content", ["|", ">", "end", "im", "e", "<", "im_end|>", "one e\n", "\U0010fffd"])
async def test_a_continued_message_that_is_part_of_a_control_token_is_found(
    client: httpx.AsyncClient, engine: EchoEngine, content: str
) -> None:
    messages = [OPEN[0], {"role": "assistant", "content": content}]
    await ask(client, {"messages": messages, "continue_final_message": True})
    opening = f"<|im_start|>user\ncount<|im_end|>\n<|im_start|>assistant\n{content}"
    ids = (await client.post("/tokenize", json={"prompt": opening})).json()["tokens"]
    assert list(engine.requests[-1].prompt_token_ids) == ids


@pytest.mark.parametrize(
    ("shown", "content", "kept"),
    [
        ("message.content | trim", " e \n", "e"),
        ("message.content", " e \n", " e \n"),
        ("message.content ~ message.content", "ab", "abab"),
    ],
)
def test_the_end_of_a_continued_message_is_found_in_templates_that_change_it(
    shown: str, content: str, kept: str
) -> None:
    template = ChatTemplate("{% for message in messages %}<{{ " + shown + " }}<|end|>{% endfor %}", {})
    message = {"role": "assistant", "content": content}
    assert template.render_open([message], [], end="\U0010fffd") == f"<{kept}"


def test_a_template_that_drops_the_continued_message_is_refused() -> None:
    with pytest.raises(BadRequest, match="cannot be continued"):
        ChatTemplate("x", {}).render_open([{"role": "assistant", "content": "x"}], [], end="\U0010fffd")
