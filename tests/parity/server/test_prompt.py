"""The server's prompt, rendered without transformers, against transformers' own processor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from antiphon_server.chat.prompt.conversation import read_conversation
from antiphon_server.chat.prompt.renderer import PromptRenderer
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.openai_api.request import parse_chat_request

IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA"}}
VIDEO = {"type": "video_url", "video_url": {"url": "data:,"}}
TEXT = {"type": "text", "text": "What is this, Größe 1 < 2?\n"}
CALL = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": [1, "ü"]}'}}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]

CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "text": [{"role": "user", "content": "你好, world! 🎈"}],
    "system": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
    "media": [{"role": "user", "content": [AUDIO, TEXT, IMAGE, VIDEO, AUDIO]}],
    "turns": [
        {"role": "user", "content": [IMAGE, TEXT]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "Sure?"},
    ],
    "tools": [
        {"role": "user", "content": "Add."},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "1", "content": "3"},
    ],
}


def as_transformers_has_it(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same conversation in transformers' words: parts by kind, arguments as objects."""
    kinds = {"image_url": "image", "input_audio": "audio", "video_url": "video"}

    def part(part: dict[str, Any]) -> dict[str, Any]:
        return {"type": kinds[part["type"]]} if part["type"] in kinds else part

    said = json.loads(json.dumps(messages))
    for message in said:
        if isinstance(message["content"], list):
            message["content"] = [part(one) for one in message["content"]]
        for call in message.get("tool_calls", []):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return said


@pytest.mark.parametrize("name", sorted(CONVERSATIONS))
def test_prompts_are_token_for_token_those_of_transformers(released_qwen3_omni: Path, name: str) -> None:
    transformers = pytest.importorskip("transformers")
    tools = TOOLS if name == "tools" else []
    tokenizer = transformers.AutoTokenizer.from_pretrained(released_qwen3_omni)
    template = json.loads((released_qwen3_omni / "chat_template.json").read_text())["chat_template"]
    wanted = tokenizer.apply_chat_template(
        as_transformers_has_it(CONVERSATIONS[name]),
        tools=tools or None,
        chat_template=template,
        add_generation_prompt=True,
        return_dict=False,
    )
    request = parse_chat_request(json.dumps({"messages": CONVERSATIONS[name], "tools": tools}).encode())
    prompts = PromptRenderer.from_folder(released_qwen3_omni)
    conversation = read_conversation(request, lambda _: None, ClientJson(64, 100_000))
    assert list(prompts.render_now(conversation)) == wanted
