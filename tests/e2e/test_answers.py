"""Text and speech that the stock `openai` client gets, for text, audio, image and video."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import openai
import pytest

from antiphon_executor.tiny.qwen3_omni_config import SPEAKERS
from antiphon_executor.tiny.tokenizer import CONTROL_TOKENS, VOCABULARY
from tests.e2e.answers import SPOKEN, STREAMED, ask, said, timed
from tests.e2e.recordings import CLIP_FPS, CLIP_S, CLIP_SIZE, PICTURE_SIZE, QUESTION_S, Recordings
from tests.e2e.server_process import MODEL
from tests.server.media.media_samples import ffmpeg

pytestmark = pytest.mark.engine

END = VOCABULARY + CONTROL_TOKENS.index("<|im_end|>")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer", "maximum": 9}},
    "required": ["colour", "count"],
    "additionalProperties": False,
}
# A number makes a prompt new to the cache.
NUMBERS = itertools.count()
PIXELS_PER_TOKEN = 32 * 32
TOKENS_PER_SECOND_OF_SOUND = 13


def test_a_text_question_is_answered_in_text(client: openai.OpenAI) -> None:
    answer = ask(client, said("Tell me about the red house."), max_tokens=12)
    assert answer.text
    assert answer.pcm == b""
    assert answer.usage.completion_tokens <= 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_streamed_text_is_the_whole_one(client: openai.OpenAI) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    streamed = ask(client, said("Tell me about the river."), **options)
    whole = ask(client, said("Tell me about the river."))
    assert (streamed.text, streamed.finish_reason) == (whole.text, whole.finish_reason)
    assert streamed.usage.completion_tokens == whole.usage.completion_tokens


@pytest.mark.parametrize("form", [SPOKEN, STREAMED], ids=["whole", "streamed"])
def test_a_spoken_question_with_a_picture_and_a_film_is_answered_aloud(
    client: openai.OpenAI, recordings: Recordings, form: dict[str, Any]
) -> None:
    answer = ask(client, recordings.all_at_once(), seed=3, **form)
    assert answer.text
    assert answer.frames == answer.usage.completion_tokens_details.audio_tokens > 0
    spent = answer.usage.completion_tokens_details
    assert answer.usage.completion_tokens == spent.text_tokens + spent.audio_tokens


def test_the_prompt_is_counted_by_kind(client: openai.OpenAI, recordings: Recordings) -> None:
    """13 tokens a second of sound, a token per 32 x 32 pixels, and per two frames of a film."""
    read = ask(client, recordings.all_at_once(), max_tokens=1).usage
    by_kind = read.prompt_tokens_details
    picture, shot = (size[0] * size[1] // PIXELS_PER_TOKEN for size in (PICTURE_SIZE, CLIP_SIZE))
    assert by_kind.image_tokens == picture
    assert by_kind.video_tokens == shot * CLIP_S * CLIP_FPS // 2
    assert by_kind.audio_tokens == TOKENS_PER_SECOND_OF_SOUND * (QUESTION_S + CLIP_S)
    kinds = by_kind.text_tokens + by_kind.audio_tokens + by_kind.image_tokens + by_kind.video_tokens
    assert read.prompt_tokens == kinds


@pytest.mark.parametrize("form", [{}, STREAMED], ids=["written", "spoken"])
def test_a_repeating_answer_is_cut(client: openai.OpenAI, form: dict[str, Any]) -> None:
    """The model repeats one token without end; the answer is cut at the twelfth in a row."""
    stuck = {"temperature": 0, "max_tokens": 40, "logit_bias": {"100": 100}}
    endless = ask(client, said("Hello."), **stuck, **form)
    body = {"repetition_detection": {"max_pattern_size": 1, "min_count": 12}}
    cut = ask(client, said("Hello."), extra_body=body, **stuck, **form)
    assert (endless.finish_reason, cut.finish_reason) == ("length", "length")
    spent = [answer.usage.completion_tokens_details.text_tokens for answer in (endless, cut)]
    assert spent == [40, 12]


@pytest.mark.parametrize("form", [{}, STREAMED], ids=["written", "spoken"])
@pytest.mark.parametrize(
    ("asked", "ends", "tokens", "has_text"),
    [
        ({}, "stop", 1, False),
        ({"ignore_eos": True}, "length", 24, False),
        ({"min_tokens": 9}, "stop", 10, True),
        ({"min_tokens": 9, "ignore_eos": True}, "length", 24, True),
    ],
)
def test_the_client_sets_the_length_of_an_answer(
    client: openai.OpenAI,
    form: dict[str, Any],
    asked: dict[str, Any],
    ends: str,
    tokens: int,
    has_text: bool,
) -> None:
    """The model would end at once: its end token is the most likely one. Speech has only what is text."""
    bias = {"logit_bias": {str(END): 50}, "max_tokens": 24}
    answer = ask(client, said("Hello."), extra_body=asked, **bias, **form)
    assert (answer.finish_reason, bool(answer.text)) == (ends, has_text)
    assert answer.usage.completion_tokens_details.text_tokens == tokens
    assert bool(answer.frames) == bool(form and has_text)


@pytest.mark.parametrize("form", [{}, STREAMED], ids=["written", "spoken"])
def test_a_token_of_the_client_ends_an_answer_and_is_not_in_it(
    client: openai.OpenAI, form: dict[str, Any]
) -> None:
    body = {"stop_token_ids": [100], "min_tokens": 5}
    whole = ask(client, said("Hello."), max_tokens=5, extra_body={"min_tokens": 5, "stop_token_ids": [100]})
    answer = ask(client, said("Hello."), max_tokens=24, logit_bias={"100": 50}, extra_body=body, **form)
    assert (answer.finish_reason, answer.text) == ("stop", whole.text)
    assert answer.usage.completion_tokens_details.text_tokens == 6
    assert bool(answer.frames) == bool(form)


def test_streamed_and_whole_speech_are_the_same_samples(client: openai.OpenAI) -> None:
    streamed = ask(client, said("Say it twice."), seed=11, **STREAMED)
    whole = ask(client, said("Say it twice."), seed=11, **SPOKEN)
    assert streamed.text == whole.text
    assert streamed.pcm == whole.pcm


@pytest.mark.parametrize("limits", [{"max_tokens": 40}, {"max_tokens": 40, "stop": ["zq"]}])
def test_words_are_timed_in_both_forms(client: openai.OpenAI, limits: dict[str, Any]) -> None:
    """Also while a stop string is watched for and text is held back for it."""
    whole = ask(client, said("Tell me about the red house."), seed=11, **limits, **timed(SPOKEN))
    streamed = ask(client, said("Tell me about the red house."), seed=11, **limits, **timed(STREAMED))
    assert (whole.granularity, streamed.granularity) == ("word", "word")
    assert len(whole.words) > 1
    whole.assert_timed()
    streamed.assert_timed()
    assert [word["index"] for word in streamed.words] == list(range(len(whole.words)))


def test_a_transcript_that_keeps_pace_with_the_speech_is_the_same_one(client: openai.OpenAI) -> None:
    paced = timed(STREAMED, transcript_timing="as_spoken")
    answers = [ask(client, said("Say it slowly."), seed=4, **form) for form in (paced, STREAMED)]
    assert answers[0].text == answers[1].text
    assert answers[0].pcm == answers[1].pcm


def test_speech_does_not_change_the_text(client: openai.OpenAI) -> None:
    assert ask(client, said("One text."), **SPOKEN).text == ask(client, said("One text.")).text


def test_a_seed_repeats_an_answer_and_another_one_does_not(client: openai.OpenAI) -> None:
    warm = {"temperature": 1.0, **SPOKEN}
    first, again, other = (ask(client, said("Sing."), seed=seed, **warm) for seed in (5, 5, 6))
    assert (first.text, first.pcm) == (again.text, again.pcm)
    assert (first.text, first.pcm) != (other.text, other.pcm)


def test_all_voices_speak_and_sound_different(client: openai.OpenAI) -> None:
    heard = [
        ask(client, said("Who are you?"), seed=1, **{**SPOKEN, "audio": {"voice": v, "format": "wav"}})
        for v in SPEAKERS
    ]
    assert len({answer.pcm for answer in heard}) == len(SPEAKERS)
    assert len({answer.text for answer in heard}) == 1


def test_the_second_turn_reads_the_first_from_the_cache_and_answers_the_same(
    client: openai.OpenAI, recordings: Recordings
) -> None:
    messages = recordings.all_at_once("Remember this: " + "a red house by the river. " * 12)
    first = ask(client, messages)
    messages += [{"role": "assistant", "content": first.text}, *said("And now?")]
    cold_messages = [{"role": "system", "content": f"Be kind. {next(NUMBERS)}"}, *messages]
    cold = ask(client, cold_messages, seed=2, **SPOKEN)
    warm = ask(client, cold_messages, seed=2, **SPOKEN)
    second = ask(client, messages, seed=2, **SPOKEN)
    assert second.usage.prompt_tokens_details.cached_tokens > 100
    assert cold.usage.prompt_tokens_details.cached_tokens == 0
    assert warm.usage.prompt_tokens_details.cached_tokens > 100
    assert (cold.text, cold.pcm) == (warm.text, warm.pcm)


def test_several_texts_come_in_one_answer(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(
        model=MODEL, messages=said("Choose."), n=2, max_tokens=8, temperature=1.0, seed=1
    )
    assert [choice.index for choice in completion.choices] == [0, 1]
    assert completion.choices[0].message.content != completion.choices[1].message.content
    assert completion.usage is not None
    assert 8 < completion.usage.completion_tokens <= 16


def test_log_probabilities_come_with_each_token(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(
        model=MODEL, messages=said("Why?"), max_tokens=6, temperature=0, logprobs=True, top_logprobs=3
    ).choices[0]
    assert choice.logprobs is not None
    tokens = choice.logprobs.content or []
    assert len(tokens) == 6
    # A part of a character that never became whole has no text of its own.
    assert "".join(token.token for token in tokens) == (choice.message.content or "").replace("\ufffd", "")
    for token in tokens:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        assert token.top_logprobs[0].logprob == token.logprob, "greedy takes the likeliest"


def test_an_answer_keeps_to_its_schema(client: openai.OpenAI) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "pick", "schema": SCHEMA, "strict": True}}
    answer = ask(client, said("Pick one."), response_format=wanted, max_tokens=200, seed=4, temperature=1.0)
    assert answer.finish_reason == "stop"
    picked = json.loads(answer.text)
    assert picked["colour"] in ("red", "blue")
    assert isinstance(picked["count"], int)
    assert set(picked) == {"colour", "count"}


def test_speech_ends_where_a_stop_string_ends_the_text(client: openai.OpenAI) -> None:
    """The stop string ends at a token, so the answer must equal one cut there by `max_tokens`."""
    question = said("Tell me about the red house.")
    kept, stop = _a_stop_at_a_token_edge(client, question)
    stopped = ask(client, question, max_tokens=24, stop=[stop], seed=1, **SPOKEN)
    cut = ask(client, question, max_tokens=kept, seed=1, **SPOKEN)
    assert (stopped.finish_reason, cut.finish_reason) == ("stop", "length")
    assert stopped.text == cut.text
    assert stopped.pcm == cut.pcm


def _a_stop_at_a_token_edge(client: openai.OpenAI, question: Any) -> tuple[int, str]:
    """How many tokens stand before the stop, and the stop."""
    choice = client.chat.completions.create(
        model=MODEL, messages=question, max_tokens=24, temperature=0, logprobs=True
    ).choices[0]
    assert choice.logprobs is not None
    tokens = [token.token for token in choice.logprobs.content or []]
    for kept in range(6, len(tokens)):
        before, stop = "".join(tokens[:kept]), tokens[kept]
        if stop.isascii() and stop.strip() and stop not in (before + stop)[:-1]:
            return kept, stop
    raise AssertionError(f"no token to stop at in {tokens}")


def test_max_tokens_ends_the_text_and_all_of_it_is_spoken(client: openai.OpenAI) -> None:
    answer = ask(client, said("Tell me everything."), max_tokens=5, seed=1, **SPOKEN)
    assert answer.finish_reason == "length"
    assert answer.usage.completion_tokens_details.text_tokens == 5
    assert answer.frames >= 1


@pytest.mark.parametrize("audio_format", ["mp3", "flac", "opus", "aac"])
def test_speech_comes_in_the_format_asked_for(client: openai.OpenAI, audio_format: str) -> None:
    completion = client.chat.completions.create(
        model=MODEL,
        messages=said("Good morning."),
        modalities=["text", "audio"],
        audio={"voice": "ethan", "format": audio_format},  # type: ignore[typeddict-item]
        max_tokens=4,
        seed=1,
    )
    audio = completion.choices[0].message.audio
    assert audio is not None
    assert completion.usage is not None
    spent = completion.usage.completion_tokens_details
    assert spent is not None
    files = {"said": base64.b64decode(audio.data)}
    pcm = ffmpeg("-i", "said", "-f", "s16le", "-ar", "24000", "-ac", "1", suffix="pcm", files=files)
    assert len(pcm) / 48_000 == pytest.approx((spent.audio_tokens or 0) * 0.08, abs=0.2)
