"""The ARIA Talker equals the reference code for code, whatever happens around a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from antiphon_executor.interface.request import SpeechSampling
from tests.parity.sound import assert_same_wave
from tests.parity.talker.aria_oracle import AriaOracle, AriaTruth, heard_prompt
from tests.parity.talker.rig import Spoken, TalkerRig

pytestmark = pytest.mark.engine

FRAMES = 40
GREEDY = SpeechSampling("spoken", temperature=0, max_frames=FRAMES)


def words(oracle: AriaOracle, count: int, seed: int) -> list[int]:
    vocabulary = oracle.model.config.talker_config.text_config.vocab_size
    return np.random.default_rng(seed).integers(20, vocabulary // 2, count).tolist()


@pytest.fixture(scope="package")
def truths(aria_oracle: AriaOracle) -> list[AriaTruth]:
    """tts_eos as the 1st to the 4th token of the last chunk; prompts with and without media."""
    made = []
    for seed, (media, size, text) in enumerate(((0, 9, 12), (7, 3, 5), (50, 30, 22), (1, 0, 35))):
        prompt = heard_prompt(aria_oracle, media, size, seed)
        made.append(aria_oracle.speak(prompt, words(aria_oracle, text, seed), GREEDY))
    assert {len(truth.text) % 4 for truth in made} == {0, 1, 2, 3}
    assert all(len(np.unique(truth.codes, axis=0)) > 8 for truth in made)
    return made


def assert_same_speech(spoken: Spoken, truth: AriaTruth) -> None:
    np.testing.assert_array_equal(spoken.codes, truth.codes)
    assert_same_wave(spoken.pcm, truth.wave)
    assert spoken.ended is not None
    assert spoken.ended.frames == len(truth.codes)
    assert spoken.ended.finish_reason == ("stop" if truth.ended else "length")


async def said(
    rig: TalkerRig, truth: AriaTruth, *, pieces: Sequence[int] = (10_000,), pause_s: float = 0.0
) -> Spoken:
    return await rig.speak(truth.prompt, truth.text, truth.sampling, pieces=pieces, pause_s=pause_s)


async def test_given_one_stream_then_codes_and_waveform_are_those_of_the_reference(
    aria: TalkerRig, truths: list[AriaTruth]
) -> None:
    for truth in truths:
        assert_same_speech(await said(aria, truth), truth)


async def test_given_eight_streams_at_once_with_text_trickling_in_then_each_is_as_if_it_were_alone(
    aria: TalkerRig, truths: list[AriaTruth]
) -> None:
    spoken = await asyncio.gather(
        *(
            said(aria, truth, pieces=(1 + index, 3), pause_s=0.02 * index)
            for index, truth in enumerate(truths * 2)
        )
    )
    for one, truth in zip(spoken, truths * 2, strict=True):
        assert_same_speech(one, truth)


async def test_given_text_that_pauses_then_the_stream_waits_and_others_go_on(
    aria: TalkerRig, truths: list[AriaTruth]
) -> None:
    slow = asyncio.create_task(said(aria, truths[3], pieces=(10, 1_000), pause_s=3.0))
    quick = await said(aria, truths[0])
    assert not slow.done()
    assert_same_speech(quick, truths[0])
    assert_same_speech(await slow, truths[3])


async def test_given_a_stream_that_is_left_then_its_slot_serves_the_next(
    aria: TalkerRig, truths: list[AriaTruth]
) -> None:
    left = asyncio.create_task(said(aria, truths[3], pieces=(10, 1_000), pause_s=30.0))
    await asyncio.sleep(1.0)
    assert aria.slots.used == 1
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    assert_same_speech(await said(aria, truths[1]), truths[1])


async def test_given_small_prefill_chunks_and_preemptions_then_nothing_changes(
    cramped_aria: TalkerRig, aria_oracle: AriaOracle, truths: list[AriaTruth]
) -> None:
    """Streams run out of blocks in the middle of a chunk, and between two of them, all at the same place."""
    before = cramped_aria.preemptions()
    for rows in (80, 78):
        prompt = heard_prompt(aria_oracle, 50, rows - 50, seed=9)
        truth = aria_oracle.speak(prompt, words(aria_oracle, 35, seed=9), GREEDY)
        crowd = [truth] * 5 + truths[:2]
        spoken = await asyncio.gather(*(said(cramped_aria, one, pieces=(5,)) for one in crowd))
        for one, expected in zip(spoken, crowd, strict=True):
            assert_same_speech(one, expected)
        assert cramped_aria.preemptions() > before
        before = cramped_aria.preemptions()


async def test_given_a_voice_without_frames_then_it_speaks_too_and_differently(
    aria: TalkerRig, aria_oracle: AriaOracle, truths: list[AriaTruth]
) -> None:
    written = replace(GREEDY, voice="written", max_frames=12)
    truth = aria_oracle.speak(truths[0].prompt, truths[0].text, written)
    assert_same_speech(await said(aria, truth), truth)
    assert not np.array_equal(truth.codes, truths[0].codes[:12])


async def test_given_a_seed_then_sampled_speech_is_that_of_the_reference_alone_and_in_company(
    aria: TalkerRig, cramped_aria: TalkerRig, aria_oracle: AriaOracle
) -> None:
    expected = [
        aria_oracle.speak(
            heard_prompt(aria_oracle, 2, 5, seed),
            words(aria_oracle, 3 + seed, seed),
            SpeechSampling("spoken", seed=seed, max_frames=30, top_p=top_p, repetition_penalty=penalty),
        )
        for seed, top_p, penalty in ((4, 1.0, 1.05), (5, 1.0, 1.05), (7, 1.0, 1.05), (8, 0.6, 1.4))
    ]
    assert any(truth.ended for truth in expected)
    together = await asyncio.gather(*(said(aria, truth) for truth in expected * 2))
    for one, truth in zip(together, expected * 2, strict=True):
        assert_same_speech(one, truth)
    for truth in expected:
        assert_same_speech(await said(cramped_aria, truth), truth)


async def test_given_a_limit_inside_the_text_then_speech_stops_there(
    aria: TalkerRig, truths: list[AriaTruth]
) -> None:
    for limit in (1, 6, 8):
        cut = await said(aria, replace(truths[3], sampling=replace(GREEDY, max_frames=limit)))
        np.testing.assert_array_equal(cut.codes, truths[3].codes[:limit])
        assert cut.ended is not None
        assert cut.ended.finish_reason == "length"


async def test_given_bfloat16_then_every_code_is_the_references_but_where_two_are_nearly_as_good(
    rounded_aria: TalkerRig, aria_oracle: AriaOracle, truths: list[AriaTruth]
) -> None:
    """vLLM's own kernels: each code is judged by the reference, given what was really said before it."""
    plain = replace(GREEDY, repetition_penalty=1.0)
    spoken = await asyncio.gather(*(said(rounded_aria, replace(truth, sampling=plain)) for truth in truths))
    for one, truth in zip(spoken, truths, strict=True):
        regret = aria_oracle.regret(truth.prompt, truth.text, plain, one.codes)
        assert regret.shape == one.codes.shape
        # Each kind of CPU rounds in its own way, and where experts nearly tie takes another: seen up to 0.023
        # and from 89 % alike; behind another prompt from 0.078 and up to 77 %.
        assert regret.mean() < 0.04
        assert (regret == 0).mean() > 0.83
        other = next(each for each in truths if each is not truth).prompt
        assert aria_oracle.regret(other, truth.text, plain, one.codes).mean() > 0.04
        assert_same_wave(one.pcm, aria_oracle.one_shot(one.codes))


async def test_given_all_that_then_every_slot_is_free_again(
    aria: TalkerRig, cramped_aria: TalkerRig, rounded_aria: TalkerRig
) -> None:
    for rig in (aria, cramped_aria, rounded_aria):
        assert rig.slots.used == 0
        assert rig.running() == 0
