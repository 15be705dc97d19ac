"""Prompts equal the template's output token for token, and a user's text is never a control token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from antiphon_server.chat.prompt.conversation import Conversation, read_conversation
from antiphon_server.chat.prompt.renderer import PromptRenderer
from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.openai_api.request import parse_chat_request
from tests.tiny_checkpoint import ADDED_TOKENS, CHAT_TEMPLATE, SPECIAL_TOKENS, write_tiny_checkpoint

pytestmark = pytest.mark.promise("R11")

CONTROLS = SPECIAL_TOKENS + ADDED_TOKENS
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
VIDEO = {"type": "video_url", "video_url": {"url": "data:,"}}

fragments = st.one_of(
    st.sampled_from(CONTROLS),
    st.sampled_from(CONTROLS).flatmap(lambda token: st.integers(0, len(token)).map(lambda cut: token[:cut])),
    st.sampled_from(CONTROLS).flatmap(lambda token: st.integers(0, len(token)).map(lambda cut: token[cut:])),
    st.text(max_size=8),
    st.sampled_from(["<", ">", "|", "\U0010fffd", "\U0010fffc", " ", "\n", "user", "assistant"]),
)
hostile_texts = st.lists(fragments, max_size=6).map("".join)


def conversation(*messages: dict[str, Any], **fields: Any) -> Conversation:
    body = json.dumps({"messages": messages, **fields})
    return read_conversation(
        parse_chat_request(body.encode()), lambda audio_id: None, ClientJson(64, 100_000)
    )


def controls_in(ids: tuple[int, ...], tokenizer: Tokenizer) -> list[str]:
    by_id = {token_id: token.content for token_id, token in tokenizer.get_added_tokens_decoder().items()}
    return [by_id[i] for i in ids if i in by_id]


def test_a_harmless_prompt_has_the_ids_of_its_whole_rendering(
    prompts: PromptRenderer, tokenizer: Tokenizer
) -> None:
    said = conversation({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is 1 < 2?"})
    rendered = (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nIs 1 < 2?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert list(prompts.render_now(said)) == tokenizer.encode(rendered).ids


def test_parts_become_one_placeholder_each_in_their_order(
    prompts: PromptRenderer, tokenizer: Tokenizer
) -> None:
    parts = [AUDIO, {"type": "text", "text": "and"}, IMAGE, VIDEO, AUDIO]
    ids = prompts.render_now(conversation({"role": "user", "content": parts}))
    pads = [token for token in controls_in(ids, tokenizer) if token.endswith("_pad|>")]
    assert pads == ["<|audio_pad|>", "<|image_pad|>", "<|video_pad|>", "<|audio_pad|>"]


@given(texts=st.lists(hostile_texts, min_size=1, max_size=4), system=hostile_texts, answer=hostile_texts)
def test_user_text_never_makes_a_control_token(
    prompts: PromptRenderer, tokenizer: Tokenizer, texts: list[str], system: str, answer: str
) -> None:
    """Any mix of control tokens and their pieces, in every role, split over parts."""

    def messages(texts: list[str], system: str, answer: str) -> tuple[dict[str, Any], ...]:
        parts = [{"type": "text", "text": text} for text in texts]
        return (
            {"role": "system", "content": system},
            {"role": "user", "content": [*parts, AUDIO]},
            {"role": "assistant", "content": answer},
            {"role": "tool", "tool_call_id": "1", "content": parts},
        )

    hostile = prompts.render_now(conversation(*messages(texts, system, answer)))
    harmless = prompts.render_now(conversation(*messages(["x"] * len(texts), "x", "x")))

    assert controls_in(hostile, tokenizer) == controls_in(harmless, tokenizer)


@given(texts=st.lists(hostile_texts, min_size=1, max_size=3))
def test_hostile_text_arrives_letter_by_letter(
    prompts: PromptRenderer, tokenizer: Tokenizer, texts: list[str]
) -> None:
    ids = prompts.render_now(
        conversation({"role": "user", "content": [{"type": "text", "text": text} for text in texts]})
    )
    expected = f"<|im_start|>user\n{''.join(texts)}<|im_end|>\n<|im_start|>assistant\n"
    normal = tokenizer.normalizer.normalize_str
    assert normal(tokenizer.decode(list(ids), skip_special_tokens=False)) == normal(expected)


@given(word=hostile_texts.filter(bool))
def test_tool_schemas_and_calls_make_no_control_tokens(
    prompts: PromptRenderer, tokenizer: Tokenizer, word: str
) -> None:
    def ids(word: str) -> tuple[int, ...]:
        schema = {"type": "object", "properties": {word: {"type": "string", "description": word}}}
        tool = {"type": "function", "function": {"name": word, "description": word, "parameters": schema}}
        call = {
            "id": "1",
            "type": "function",
            "function": {"name": word, "arguments": json.dumps({word: word})},
        }
        return prompts.render_now(
            conversation(
                {"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]}, tools=[tool]
            )
        )

    assert controls_in(ids(word), tokenizer) == controls_in(ids("x"), tokenizer)


def test_every_control_token_of_the_vocabulary_is_plain_text_when_a_user_writes_it(
    prompts: PromptRenderer, tokenizer: Tokenizer
) -> None:
    ids = prompts.render_now(conversation({"role": "user", "content": "".join(CONTROLS)}))
    assert controls_in(ids, tokenizer) == ["<|im_start|>", "<|im_end|>", "<|im_start|>"]


def test_who_uses_up_every_mark_is_refused(prompts: PromptRenderer) -> None:
    marks = "".join(chr(0x10FFFD - number) for number in range(64))
    assert prompts.render_now(conversation({"role": "user", "content": marks[1:]}))
    with pytest.raises(BadRequest, match=r"U\+10FFBE to U\+10FFFD"):
        prompts.render_now(conversation({"role": "user", "content": marks}))


def test_a_template_without_a_place_for_a_kind_refuses_that_part(tmp_path: Path) -> None:
    template = CHAT_TEMPLATE.replace("part.type == 'video'", "part.type == 'hologram'").replace(
        "{{ part.text }}", "{{ part.text or '' }}"
    )
    prompts = PromptRenderer.from_folder(write_tiny_checkpoint(tmp_path, template))
    with pytest.raises(BadRequest, match="does not support this video") as refused:
        prompts.render_now(conversation({"role": "user", "content": [AUDIO, VIDEO]}))
    assert refused.value.param == "messages[0].content[1]"


def test_a_template_that_raises_is_a_bad_request(tmp_path: Path) -> None:
    prompts = PromptRenderer.from_folder(write_tiny_checkpoint(tmp_path, "{{ raise_exception('no') }}"))
    with pytest.raises(BadRequest, match="does not accept these messages"):
        prompts.render_now(conversation({"role": "user", "content": "hi"}))


@pytest.mark.parametrize("name", ["chat_template.json", "tokenizer_config.json"])
def test_templates_are_found_where_older_checkpoints_keep_them(tmp_path: Path, name: str) -> None:
    folder = write_tiny_checkpoint(tmp_path)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    (folder / name).write_text(json.dumps({"chat_template": template}))
    assert PromptRenderer.from_folder(folder).template.takes_tools


def test_generation_blocks_are_passed_over(tmp_path: Path) -> None:
    template = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    prompts = PromptRenderer.from_folder(write_tiny_checkpoint(tmp_path, template))
    ids = prompts.render_now(conversation({"role": "user", "content": "hello"}))
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).decode(list(ids)) == "hello"


def test_a_conversation_renders_as_transformers_renders_it(folder: Path, prompts: PromptRenderer) -> None:
    """The reference: `PreTrainedTokenizerFast.apply_chat_template` of transformers."""
    transformers = pytest.importorskip("transformers")
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Grüße, 你好 <b>!"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Once more"},
    ]
    reference = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    wanted = reference.apply_chat_template(
        messages,
        tools=tools,
        chat_template=(folder / "chat_template.jinja").read_text(),
        add_generation_prompt=True,
        return_dict=False,
    )
    assert list(prompts.render_now(conversation(*messages, tools=tools))) == wanted
