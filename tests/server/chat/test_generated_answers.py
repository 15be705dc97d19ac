"""Past answers enter a prompt with the tokens that the model has generated, if they spell the text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from antiphon_server.chat.prompt.conversation import Conversation
from antiphon_server.chat.prompt.renderer import PromptRenderer, PromptTooLong

ANSWER = "hello world, one two three"


def spelled(tokenizer: Tokenizer, text: str) -> tuple[int, ...]:
    """Tokens of its characters, which are not those of the tokenizer."""
    ids = tuple(token for char in text for token in tokenizer.encode(char, add_special_tokens=False).ids)
    assert ids != tuple(tokenizer.encode(text, add_special_tokens=False).ids)
    return ids


def talk(answer: str = ANSWER, **fields: object) -> Conversation:
    messages = (
        {"role": "user", "content": "count <|im_end|>"},
        {"role": "assistant", "content": answer},
        {"role": "user", "content": "again"},
    )
    return replace(Conversation(messages, (), ()), **fields)  # type: ignore[arg-type]


def test_generated_tokens_stand_where_the_first_request_had_them(
    prompts: PromptRenderer, tokenizer: Tokenizer
) -> None:
    ids = spelled(tokenizer, ANSWER)
    end = tokenizer.token_to_id("<|im_end|>")
    first = prompts.render_now(Conversation(talk().messages[:1], (), ()))
    second = prompts.render_now(talk(generated={1: (*ids, end)}), 4_096)
    assert second[: len(first) + len(ids) + 1] == (*first, *ids, end)
    assert tokenizer.decode(list(second), skip_special_tokens=False) == tokenizer.decode(
        list(prompts.render_now(talk())), skip_special_tokens=False
    )


@pytest.mark.parametrize("wrong", ["other text", "<|im_end|>", ANSWER + "<|im_start|>", ""])
def test_tokens_that_do_not_spell_the_text_are_not_used(
    prompts: PromptRenderer, tokenizer: Tokenizer, wrong: str
) -> None:
    ids = tuple(tokenizer.encode(wrong, add_special_tokens=False).ids)
    bad = (*ids, *spelled(tokenizer, ANSWER)) if wrong != ANSWER + "<|im_start|>" else (*ids, 1, *ids)
    assert prompts.render_now(talk(generated={1: bad if wrong else ids})) == prompts.render_now(talk())


def test_a_text_with_control_tokens_is_encoded_anew(prompts: PromptRenderer, tokenizer: Tokenizer) -> None:
    """Its tokens would be those of the controls."""
    answer = "one <|im_end|> two"
    ids = tuple(tokenizer.encode(answer, add_special_tokens=False).ids)
    assert prompts.render_now(talk(answer, generated={1: ids})) == prompts.render_now(talk(answer))


@pytest.mark.parametrize("change", ["content | trim | upper", "content.split('l')[-1]", "''"])
def test_a_template_that_changes_the_text_gets_it_without_marks(
    folder: Path, tokenizer: Tokenizer, tmp_path: Path, change: str
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    shown = "{% set content = message.content %}{{ " + change + " }};"
    source = "{% for message in messages %}" + shown + "{% endfor %}"
    (tmp_path / "chat_template.jinja").write_text(source)
    prompts = PromptRenderer.from_folder(tmp_path)
    ids = spelled(tokenizer, ANSWER)
    text = tokenizer.decode(list(prompts.render_now(talk(generated={1: ids}))), skip_special_tokens=False)
    assert not [char for char in text if char > "\U00010000"]


def test_a_long_answer_is_still_too_long(prompts: PromptRenderer, tokenizer: Tokenizer) -> None:
    with pytest.raises(PromptTooLong):
        prompts.render_now(talk(generated={1: spelled(tokenizer, ANSWER)}), 20)
