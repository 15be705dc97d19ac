"""The domain: every text consists of its words, and each word is one token."""

from __future__ import annotations

import random
from itertools import islice

import pytest
from transformers import Qwen2Tokenizer

from antiphon_executor.models.qwen3_5_omni.presets import nano
from antiphon_nano.domain import answers, corpus, grammar, slot_values, words
from antiphon_nano.domain.tokenizer import forms, nano_tokenizer

DRAWN = 4000


@pytest.fixture(scope="module")
def tokenizer() -> Qwen2Tokenizer:
    return nano_tokenizer()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(islice(corpus.trained(0), DRAWN))


@pytest.mark.parametrize(
    ("value", "said"), [(0, "zero"), (7, "seven"), (20, "twenty"), (32, "thirty two"), (100, "one hundred")]
)
def test_numbers_are_written_in_words(value: int, said: str) -> None:
    assert words.number(value) == said


@pytest.mark.parametrize("value", [-1, 101])
def test_a_number_without_words_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match=str(value)):
        words.number(value)


@pytest.mark.parametrize(
    ("lower", "as_written"),
    [
        ("i see a orange dot.", "I see an orange dot."),
        ("it is red. is it? yes, it is.", "It is red. Is it? Yes, it is."),
        ("you said: the dog sleeps.", "You said: the dog sleeps."),
        ("a apple is a egg and i am a hat.", "An apple is an egg and I am a hat."),
    ],
)
def test_a_sentence_is_written_with_its_capitals_and_articles(lower: str, as_written: str) -> None:
    assert answers.written(lower) == as_written


def test_every_text_is_made_of_the_domain_s_words(texts: list[str]) -> None:
    known = {word.lower() for word in words.WORDS} | set(words.PUNCTUATION)
    unknown = {unit for text in texts for unit in corpus.units(text) if unit.lower() not in known | {"an"}}
    assert not unknown


def test_every_unit_of_every_text_is_one_token(tokenizer: Qwen2Tokenizer, texts: list[str]) -> None:
    held_out = corpus.held_out(200) + corpus.unseen(200)
    split = [text for text in texts + held_out if len(tokenizer.encode(text)) != len(corpus.units(text))]
    assert not split


def test_every_form_of_every_word_is_one_token(tokenizer: Qwen2Tokenizer) -> None:
    assert not [form for form in forms() if len(tokenizer.encode(form)) != 1]


def test_any_text_can_be_decoded_again(tokenizer: Qwen2Tokenizer) -> None:
    for text in ("What is 3 + 4?", "ünïcode, 中文 & emoji 🙂", "\n\ttabs"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_tokenizer_has_every_token_of_the_family_s_configuration(tokenizer: Qwen2Tokenizer) -> None:
    config = nano(tokenizer.get_vocab())
    assert tokenizer.decode([config.tts_bos_token_id]) == "<tts_text_bos>"
    assert tokenizer.encode("<|im_start|>user\n")[:2] == [config.im_start_token_id, config.user_token_id]


def test_texts_depend_on_the_seed_alone() -> None:
    first, again, other = (list(islice(corpus.trained(seed), 50)) for seed in (3, 3, 4))
    assert first == again
    assert not set(first) & set(other) - corpus.FIXED - {text for text in first if len(text) <= 14}


def test_held_out_texts_are_never_trained(texts: list[str]) -> None:
    assert not set(corpus.held_out(300)) & {text for text in texts if len(text) > 14}


def test_words_in_random_order_are_distinguished_from_sentences() -> None:
    held_out, loose = corpus.held_out(200), corpus.word_sequences(200)
    assert loose < set(held_out)
    assert 20 < len(loose) < 45
    assert not [text for text in loose if text.endswith("?") or text.startswith(("The answer", "I see"))]


def test_unseen_shapes_are_not_trained() -> None:
    trained = {*grammar.SENTENCES, *grammar.QUESTIONS, *grammar.PARTS["clause"]}
    assert not trained & set(grammar.UNSEEN)


def test_every_template_can_be_filled() -> None:
    rng = random.Random(0)
    for _, templates in corpus.FAMILIES:
        for template in templates:
            said = answers.say(template, sentence="the dog sleeps.", **slot_values.slots(rng))
            assert "{" not in said
            assert said[0].isupper()


def test_spoken_sums_are_right() -> None:
    rng = random.Random(1)
    value = {words.number(n): n for n in range(101)}
    for _ in range(200):
        slots = slot_values.slots(rng)
        a, b, result = (value[slots[name]] for name in ("a", "b", "result"))
        assert {"plus": a + b, "minus": a - b, "times": a * b}[slots["operation"]] == result
