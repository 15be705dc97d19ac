"""Qwen3.5-Omni's Thinker equals the reference, and sends the hidden states that its Talker keeps."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from antiphon_executor.interface.media import AudioClip, Media
from antiphon_executor.models.qwen3_5_omni.talker_prompt import kept_tokens
from tests.parity.thinker.conversations import AUDIO, LONG_CONVERSATIONS, Conversation, picture, sound, user
from tests.parity.thinker.engine import Answer, RunningThinker
from tests.parity.thinker.qwen3_5_checkpoint import MAX_MEDIA_ROWS
from tests.parity.thinker.qwen3_5_conversations import CONVERSATIONS, FIRST_MEDIA, FIRST_TURN
from tests.parity.thinker.qwen3_5_judgement import STEPS, Judgement
from tests.parity.thinker.qwen3_5_oracle import Qwen3_5Oracle
from tests.parity.thinker.test_thinker import preemptions
from tests.thinker.stored_media import with_stored_frames

pytestmark = pytest.mark.engine

WITH_VIDEO = [each for each in (*CONVERSATIONS, *LONG_CONVERSATIONS) if each.media.videos]


def named(name: str) -> Conversation:
    return next(each for each in CONVERSATIONS if each.name == name)


def assert_near(answer: Answer, conversation: Conversation, oracle: Qwen3_5Oracle) -> None:
    """The same tokens and rows go in; what comes out differs by what bfloat16 blurs."""
    truth = oracle.follow(conversation, answer.answer)
    assert len(answer.answer) == STEPS
    assert answer.prompt_token_ids == truth.prompt_token_ids == answer.rows.prompt_token_ids
    assert answer.rows.positions.shape == (3, 0), "this family's Talker has positions of its own"
    kept = kept_tokens(np.array(truth.prompt_token_ids), oracle.ids, MAX_MEDIA_ROWS)
    media = kept[oracle.ids.is_media(np.array(truth.prompt_token_ids)[kept])]
    assert answer.rows.row_index.tolist() == media.tolist()
    assert len(answer.rows.rows) == len(media)
    judgement = Judgement.of(answer, truth)
    assert judgement.is_blur, judgement


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda conversation: conversation.name)
async def test_alone(
    qwen3_5_thinker: RunningThinker, qwen3_5_oracle: Qwen3_5Oracle, conversation: Conversation
) -> None:
    turn = qwen3_5_thinker.turn(conversation.prompt, conversation.media)
    assert_near(await qwen3_5_thinker.answer(turn, STEPS), conversation, qwen3_5_oracle)


async def test_an_answer_to_something_else_is_no_blur(
    qwen3_5_thinker: RunningThinker, qwen3_5_oracle: Qwen3_5Oracle
) -> None:
    """Given another picture, or another number in a text, then the judgement tells them apart."""
    asked = {name: named(name) for name in ("image", "a long text")}
    meant = (
        replace(asked["image"], media=Media(images=(picture(2, 96, 128),))),
        replace(asked["a long text"], prompt=asked["a long text"].prompt.replace("34", "35")),
    )
    for conversation, other in zip(asked.values(), meant, strict=True):
        turn = qwen3_5_thinker.turn(conversation.prompt, conversation.media)
        answer = await qwen3_5_thinker.answer(turn, STEPS)
        assert not Judgement.of(answer, qwen3_5_oracle.follow(other, answer.answer)).is_blur


def test_the_conversations_are_of_every_kind_and_some_exceed_the_cap(qwen3_5_oracle: Qwen3_5Oracle) -> None:
    known = qwen3_5_oracle.ids
    prompts = [qwen3_5_oracle.prompt(each).token_ids.numpy() for each in CONVERSATIONS]
    assert np.isin((known.audio, known.image, known.video), np.concatenate(prompts)).all()
    assert sum(len(known.user_media(prompt)) > MAX_MEDIA_ROWS for prompt in prompts) >= 3


def assert_exact(answer: Answer, conversation: Conversation, oracle: Qwen3_5Oracle) -> None:
    """In the reference's own kind of numbers: its text, its log-probabilities, its rows."""
    truth = oracle.follow(conversation, answer.answer)
    assert truth.margin.min() > 1e-3, "a tie: the comparison of tokens would prove nothing"
    assert answer.prompt_token_ids == truth.prompt_token_ids
    assert answer.answer == truth.choice
    for step, top in enumerate(answer.logprobs):
        for token, logprob in top.items():
            assert logprob == pytest.approx(float(truth.logprobs[step, token]), abs=1e-3)
    rows = truth.accepted[answer.rows.row_index]
    np.testing.assert_allclose(answer.rows.rows, rows, rtol=1e-4, atol=1e-4 * np.abs(truth.accepted).max())


async def test_in_float32(exact_qwen3_5_thinker: RunningThinker, qwen3_5_oracle: Qwen3_5Oracle) -> None:
    turns = [exact_qwen3_5_thinker.turn(each.prompt, each.media) for each in CONVERSATIONS]
    answers = await asyncio.gather(*(exact_qwen3_5_thinker.answer(turn, STEPS) for turn in turns))
    for each, answer in zip(CONVERSATIONS, answers, strict=True):
        assert_exact(answer, each, qwen3_5_oracle)


@pytest.mark.parametrize("conversation", LONG_CONVERSATIONS, ids=lambda conversation: conversation.name)
async def test_windows_are_the_whole(
    exact_qwen3_5_thinker: RunningThinker, qwen3_5_oracle: Qwen3_5Oracle, conversation: Conversation
) -> None:
    """Given minutes of media, which are windows here and one item there, then nothing differs."""
    turn = exact_qwen3_5_thinker.turn(conversation.prompt, conversation.media)
    assert_exact(await exact_qwen3_5_thinker.answer(turn, 2), conversation, qwen3_5_oracle)


@pytest.mark.parametrize("conversation", WITH_VIDEO, ids=lambda conversation: conversation.name)
async def test_frames_may_lie_in_files(
    exact_qwen3_5_thinker: RunningThinker,
    qwen3_5_oracle: Qwen3_5Oracle,
    conversation: Conversation,
    tmp_path: Path,
) -> None:
    """Given videos as the server stores them, whose frames the model reads itself, then nothing differs."""
    media = with_stored_frames(conversation.media, tmp_path)
    turn = exact_qwen3_5_thinker.turn(conversation.prompt, media)
    assert_exact(await exact_qwen3_5_thinker.answer(turn, 2), conversation, qwen3_5_oracle)


async def test_all_in_one_batch(qwen3_5_thinker: RunningThinker, qwen3_5_oracle: Qwen3_5Oracle) -> None:
    """Given all at once, and nothing cached yet, then each goes as it does alone."""
    turns = [qwen3_5_thinker.turn(each.prompt, each.media, salt="batch") for each in CONVERSATIONS]
    answers = await asyncio.gather(*(qwen3_5_thinker.answer(turn, STEPS) for turn in turns))
    for each, answer in zip(CONVERSATIONS, answers, strict=True):
        assert_near(answer, each, qwen3_5_oracle)


async def test_a_second_turn_from_the_prefix_cache(
    qwen3_5_thinker: RunningThinker, qwen3_5_oracle: Qwen3_5Oracle
) -> None:
    """Given a first turn with a minute of sound, then its keys, states and rows come from the cache.

    vLLM keeps the states at the end of a step, and of a prefix that it has seen twice.
    """
    found = []
    for _ in range(2):
        first = qwen3_5_thinker.turn(FIRST_TURN, FIRST_MEDIA, salt="turns")
        found.append((await qwen3_5_thinker.answer(first, 1)).cached)
    assert found[0] == 0
    second = named("a second turn")
    turn = qwen3_5_thinker.turn(second.prompt, second.media, salt="turns")
    answer = await qwen3_5_thinker.answer(turn, STEPS)
    assert answer.cached >= 256
    assert_near(answer, second, qwen3_5_oracle)


async def test_another_tenant_does_not_hit_the_cache(qwen3_5_thinker: RunningThinker) -> None:
    prompt, media = user(f"{AUDIO}" + "hello " * 300), Media(audios=(sound(13, 40.0),))
    cached = [
        (await qwen3_5_thinker.answer(qwen3_5_thinker.turn(prompt, media, salt), 1)).cached for salt in "aaba"
    ]
    assert cached[0] == cached[2] == 0 < cached[3]


async def test_chunked_prefill_and_preemption(
    cramped_qwen3_5_thinker: RunningThinker, qwen3_5_oracle: Qwen3_5Oracle
) -> None:
    """Given chunks of 48 tokens, when requests preempt each other for blocks, then nothing changes."""
    turns = [cramped_qwen3_5_thinker.turn(each.prompt, each.media, salt="cramped") for each in CONVERSATIONS]
    before = len(cramped_qwen3_5_thinker.received)
    answers = await asyncio.gather(*(cramped_qwen3_5_thinker.answer(turn, STEPS) for turn in turns))
    for each, answer in zip(CONVERSATIONS, answers, strict=True):
        assert_exact(answer, each, qwen3_5_oracle)
    received = cramped_qwen3_5_thinker.received[before:]
    assert sorted(received) == sorted(turn.request_id for turn in turns)
    assert await preemptions(cramped_qwen3_5_thinker) > 0


async def test_an_aborted_request_leaves_nothing(
    qwen3_5_thinker: RunningThinker, qwen3_5_oracle: Qwen3_5Oracle
) -> None:
    """Given requests whose readers go away at once, then the engine is as before."""
    chosen = named("several of a kind")
    for index in range(6):
        turn = qwen3_5_thinker.turn(chosen.prompt, chosen.media, f"gone {index}")
        stream = qwen3_5_thinker.stream(turn, 400)
        if index % 2:
            await anext(stream)
        await stream.aclose()
    answer = await qwen3_5_thinker.answer(qwen3_5_thinker.turn(chosen.prompt, chosen.media, "after"), STEPS)
    assert_near(answer, chosen, qwen3_5_oracle)
    assert not qwen3_5_thinker.engine.output_processor.has_unfinished_requests()


async def test_twenty_minutes_of_sound(qwen3_5_thinker: RunningThinker) -> None:
    """Given more sound than one step takes, then it is heard in chunks, with a timestamp a minute."""
    clip = AudioClip(np.tile(sound(14, 60.0).samples, 20))
    turn = qwen3_5_thinker.turn(user(f"{AUDIO}?"), Media(audios=(clip,)))
    answer = await qwen3_5_thinker.answer(turn, 1)
    heard = answer.prompt_token_ids.count(qwen3_5_thinker.tokens.audio)
    assert heard == 8_400
    assert qwen3_5_thinker.tokenizer.decode(answer.prompt_token_ids).count(" seconds>") == 19
    assert len(answer.rows.row_index) == MAX_MEDIA_ROWS
