"""The Thinker equals transformers, and sends the hidden states and positions that transformers has."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from antiphon_executor.interface.media import Media
from tests.parity.thinker.conversations import (
    AUDIO,
    CONVERSATIONS,
    IMAGE,
    LONG_CONVERSATIONS,
    VIDEO,
    Conversation,
    picture,
    sound,
    user,
    video,
)
from tests.parity.thinker.engine import Answer, RunningThinker
from tests.parity.thinker.oracle import Oracle, Truth
from tests.thinker.stored_media import with_stored_frames

pytestmark = pytest.mark.engine

TOKENS = 16
WITH_VIDEO = [each for each in (*CONVERSATIONS, *LONG_CONVERSATIONS) if each.media.videos]


def user_media(truth: Truth, oracle: Oracle) -> np.ndarray:
    """Indices of media tokens in user segments, by a plain walk over the prompt."""
    config, thinker = oracle.config, oracle.config.thinker_config
    media = {thinker.audio_token_id, thinker.image_token_id, thinker.video_token_id}
    chosen, of_user = [], False
    ids = truth.prompt_token_ids
    for index, token in enumerate(ids):
        if token == config.im_start_token_id:
            of_user = ids[index + 1] == config.user_token_id
        if of_user and token in media:
            chosen.append(index)
    return np.array(chosen, dtype=np.int32)


def assert_same(answer: Answer, truth: Truth, oracle: Oracle) -> None:
    assert truth.margin > 1e-3, "a tie: the comparison of tokens would prove nothing"
    assert list(answer.prompt_token_ids) == truth.prompt_token_ids
    assert list(answer.answer) == truth.answer
    assert answer.rows.prompt_token_ids == truth.prompt_token_ids
    np.testing.assert_array_equal(answer.rows.positions, truth.positions)
    np.testing.assert_array_equal(answer.rows.row_index, user_media(truth, oracle))
    np.testing.assert_allclose(
        answer.rows.rows,
        truth.hidden[answer.rows.row_index],
        rtol=1e-4,
        atol=1e-4 * np.abs(truth.hidden).max(),
    )


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda conversation: conversation.name)
async def test_alone(thinker: RunningThinker, oracle: Oracle, conversation: Conversation) -> None:
    truth = oracle.answer(conversation, TOKENS)
    answer = await thinker.answer(thinker.turn(conversation.prompt, conversation.media), TOKENS)
    assert_same(answer, truth, oracle)


@pytest.mark.parametrize("conversation", LONG_CONVERSATIONS, ids=lambda conversation: conversation.name)
async def test_windows_are_the_whole(
    thinker: RunningThinker, oracle: Oracle, conversation: Conversation
) -> None:
    """Given minutes of media, which are windows here and one item there, then nothing differs."""
    truth = oracle.answer(conversation, 2)
    answer = await thinker.answer(thinker.turn(conversation.prompt, conversation.media), 2)
    assert_same(answer, truth, oracle)


@pytest.mark.parametrize("conversation", WITH_VIDEO, ids=lambda conversation: conversation.name)
async def test_frames_may_lie_in_files(
    thinker: RunningThinker, oracle: Oracle, conversation: Conversation, tmp_path: Path
) -> None:
    """Given videos as the server stores them, whose frames the model reads itself, then nothing differs."""
    media = with_stored_frames(conversation.media, tmp_path)
    answer = await thinker.answer(thinker.turn(conversation.prompt, media), 2)
    assert_same(answer, oracle.answer(conversation, 2), oracle)


async def test_a_video_with_sound_beside_a_silent_one(thinker: RunningThinker, oracle: Oracle) -> None:
    """transformers' flag is for all videos or none; here each video is as it comes.

    So tokens and positions are held against each video's own prompt, which transformers can lay out, and the
    rows against transformers' pass over the joint prompt at the joint positions.
    """
    silent, heard = video(1, 4, 2.0), video(3, 4, 2.0, heard=2.0)
    conversation = Conversation("both", user(VIDEO + VIDEO), Media(videos=(silent, heard)))
    answer = await thinker.answer(thinker.turn(conversation.prompt, conversation.media), 1)
    apart = [oracle.inputs(Conversation("one", VIDEO, Media(videos=(clip,)))) for clip in (silent, heard)]
    prompt = list(answer.prompt_token_ids)
    index = prompt.index(int(apart[0]["input_ids"][0, 0]))
    follows = index
    for inputs in apart:
        ids, expected = inputs["input_ids"][0].tolist(), oracle.positions(inputs) + follows
        assert prompt[index : index + len(ids)] == ids
        np.testing.assert_array_equal(answer.rows.positions[:, index : index + len(ids)], expected)
        index, follows = index + len(ids), int(expected.max()) + 1

    together = {
        "input_ids": torch.tensor([prompt]),
        "input_features": apart[1]["input_features"],
        "feature_attention_mask": apart[1]["feature_attention_mask"],
        "pixel_values_videos": torch.cat([inputs["pixel_values_videos"] for inputs in apart]),
        "video_grid_thw": torch.cat([inputs["video_grid_thw"] for inputs in apart]),
    }
    hidden = oracle.hidden(together, answer.rows.positions)
    np.testing.assert_allclose(answer.rows.rows, hidden[answer.rows.row_index], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("size", [2, 5, 8])
async def test_in_a_batch(thinker: RunningThinker, oracle: Oracle, size: int) -> None:
    """Given other requests beside it, and nothing cached yet, then a conversation goes as it does alone."""
    batch = CONVERSATIONS[-size:]
    turns = [thinker.turn(each.prompt, each.media, salt=f"batch of {size}") for each in batch]
    answers = await asyncio.gather(*(thinker.answer(turn, TOKENS) for turn in turns))
    for conversation, answer in zip(batch, answers, strict=True):
        assert_same(answer, oracle.answer(conversation, TOKENS), oracle)


async def test_second_turn_from_the_prefix_cache(thinker: RunningThinker, oracle: Oracle) -> None:
    """Given a first turn with media, when its history comes again, then cached rows are the computed ones."""
    media = Media(audios=(sound(11, 16.0),), images=(picture(11, 128, 128),))
    first = Conversation("first", user(f"{AUDIO}{IMAGE}What is it?"), media)
    said = await thinker.answer(thinker.turn(first.prompt, first.media), TOKENS)
    assert_same(said, oracle.answer(first, TOKENS), oracle)

    second = Conversation(
        "second",
        first.prompt + "A house.<|im_end|>\n" + user(f"{AUDIO}And this?"),
        replace(media, audios=(*media.audios, sound(12, 1.0))),
    )
    again = await thinker.answer(thinker.turn(second.prompt, second.media), TOKENS)
    assert again.cached >= 128
    assert_same(again, oracle.answer(second, TOKENS), oracle)


async def test_another_tenant_does_not_hit_the_cache(thinker: RunningThinker) -> None:
    conversation = Conversation("salted", user(f"{AUDIO}" + "hello " * 200), Media(audios=(sound(13, 8.0),)))
    for salt, warm in (("a", False), ("b", False), ("a", True)):
        answer = await thinker.answer(thinker.turn(conversation.prompt, conversation.media, salt), 1)
        assert (answer.cached > 0) is warm


async def test_the_same_frames_at_another_rate_are_another_video(
    thinker: RunningThinker, oracle: Oracle
) -> None:
    """vLLM keys its caches by content: the frame rate and the sound are part of it."""
    slow, fast = (each for each in CONVERSATIONS if each.name in ("video at 1 fps", "video at 2 fps"))
    assert np.array_equal(slow.media.videos[0].frames, fast.media.videos[0].frames)
    for conversation in (slow, fast, slow):
        answer = await thinker.answer(thinker.turn(conversation.prompt, conversation.media), TOKENS)
        assert_same(answer, oracle.answer(conversation, TOKENS), oracle)


async def test_chunked_prefill_and_preemption(cramped_thinker: RunningThinker, oracle: Oracle) -> None:
    """Given chunks of 48 tokens, when eight requests preempt each other for blocks, then nothing changes."""
    chosen = [each for each in CONVERSATIONS if each.name not in ("videos of two rates",)][-8:]
    length = 100
    turns = [cramped_thinker.turn(each.prompt, each.media, salt="cramped") for each in chosen]
    before = len(cramped_thinker.received)
    answers = await asyncio.gather(*(cramped_thinker.answer(turn, length) for turn in turns))
    for conversation, answer in zip(chosen, answers, strict=True):
        assert_same(answer, oracle.answer(conversation, length), oracle)
    assert sorted(cramped_thinker.received[before:]) == sorted(turn.request_id for turn in turns), (
        "rows once a request"
    )
    assert await preemptions(cramped_thinker) > 0


async def preemptions(thinker: RunningThinker) -> float:
    from vllm.v1.metrics.reader import get_metrics_snapshot

    return sum(metric.value for metric in get_metrics_snapshot() if metric.name == "vllm:num_preemptions")


async def test_an_aborted_request_leaves_nothing(thinker: RunningThinker, oracle: Oracle) -> None:
    """Given requests whose readers go away at once, then the engine is as before."""
    conversation = CONVERSATIONS[-2]
    for index in range(6):
        stream = thinker.stream(thinker.turn(conversation.prompt, conversation.media, f"gone {index}"), 400)
        if index % 2:
            await anext(stream)
        await stream.aclose()
    answer = await thinker.answer(thinker.turn(conversation.prompt, conversation.media, "after"), TOKENS)
    assert_same(answer, oracle.answer(conversation, TOKENS), oracle)
    assert not thinker.engine.output_processor.has_unfinished_requests()
