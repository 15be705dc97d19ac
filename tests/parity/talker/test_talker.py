"""The Talker equals transformers' code for code, whatever happens around a stream."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from antiphon_executor.interface.request import SpeechSampling
from tests.parity.sound import assert_same_wave
from tests.parity.talker.oracle import SpeakingOracle, SpokenTruth, asked
from tests.parity.talker.rig import Spoken, TalkerRig

pytestmark = pytest.mark.engine

FRAMES = 64
# Long enough for the speech to need another KV block (128 tokens on CPU) than its prompt did.
LONG_QUESTION = " ".join(["Where does the music play and who listens to it?"] * 6)
QUESTIONS = ("Tell me about the red house.", "Why?", LONG_QUESTION, "One")
GREEDY = SpeechSampling("ethan", temperature=0, max_frames=FRAMES)


@pytest.fixture(scope="package")
def truths(oracle: SpeakingOracle) -> list[SpokenTruth]:
    """Texts shorter and longer than the speech: both the text's end and text to the last frame."""
    lengths = (12, 3, 40, 90)
    return [
        oracle.speak(asked(question), text=length, frames=FRAMES)
        for question, length in zip(QUESTIONS, lengths, strict=True)
    ]


def assert_same_speech(spoken: Spoken, truth: SpokenTruth) -> None:
    assert spoken.codes.shape == truth.codes.shape
    np.testing.assert_array_equal(spoken.codes, truth.codes)
    assert_same_wave(spoken.pcm, truth.wave)


async def test_given_one_stream_then_codes_and_waveform_are_those_of_transformers(
    talker: TalkerRig, truths: list[SpokenTruth]
) -> None:
    for truth in truths:
        assert len(truth.codes) >= 60
        spoken = await talker.speak(truth.prompt, truth.text, GREEDY)
        assert_same_speech(spoken, truth)
        assert spoken.ended is not None
        assert spoken.ended.frames == FRAMES


async def test_given_eight_streams_at_once_with_text_trickling_in_then_each_is_as_if_it_were_alone(
    talker: TalkerRig, truths: list[SpokenTruth]
) -> None:
    spoken = await asyncio.gather(
        *(
            talker.speak(truth.prompt, truth.text, GREEDY, pieces=(1 + index, 3), pause_s=0.02 * index)
            for index, truth in enumerate(truths * 2)
        )
    )
    for one, truth in zip(spoken, truths * 2, strict=True):
        assert_same_speech(one, truth)


async def test_given_text_that_pauses_then_the_stream_waits_and_others_go_on(
    talker: TalkerRig, truths: list[SpokenTruth]
) -> None:
    slow = asyncio.create_task(
        talker.speak(truths[2].prompt, truths[2].text, GREEDY, pieces=(20, 1_000), pause_s=3.0)
    )
    quick = await talker.speak(truths[0].prompt, truths[0].text, GREEDY)
    assert not slow.done()
    assert_same_speech(quick, truths[0])
    assert_same_speech(await slow, truths[2])


async def test_given_small_prefill_chunks_and_preemptions_then_nothing_changes(
    cramped_talker: TalkerRig, truths: list[SpokenTruth]
) -> None:
    spoken = await asyncio.gather(
        *(
            cramped_talker.speak(truth.prompt, truth.text, GREEDY, pieces=(5,))
            for truth in [truths[2]] * 6 + truths[:2]
        )
    )
    for one, truth in zip(spoken, [truths[2]] * 6 + truths[:2], strict=True):
        assert_same_speech(one, truth)
    assert cramped_talker.preemptions() > 0


async def test_given_voices_then_each_speaks_as_in_transformers(
    talker: TalkerRig, oracle: SpeakingOracle
) -> None:
    said = {}
    for voice in ("chelsie", "aiden"):
        truth = oracle.speak(asked("Hello."), text=5, frames=12, voice=voice)
        said[voice] = await talker.speak(
            truth.prompt, truth.text, SpeechSampling(voice, temperature=0, max_frames=12)
        )
        assert_same_speech(said[voice], truth)
    assert not np.array_equal(said["chelsie"].codes, said["aiden"].codes)


async def test_given_a_repetition_penalty_then_codes_are_those_of_transformers(
    talker: TalkerRig, oracle: SpeakingOracle, truths: list[SpokenTruth]
) -> None:
    truth = oracle.speak(asked(QUESTIONS[0]), text=12, frames=FRAMES, repetition_penalty=1.6)
    assert not np.array_equal(truth.codes, truths[0].codes)
    sampling = SpeechSampling("ethan", temperature=0, max_frames=FRAMES, repetition_penalty=1.6)
    assert_same_speech(await talker.speak(truth.prompt, truth.text, sampling), truth)


async def test_given_a_seed_then_sampled_speech_is_the_same_alone_and_in_company(
    talker: TalkerRig, cramped_talker: TalkerRig, truths: list[SpokenTruth]
) -> None:
    def sampled(seed: int) -> SpeechSampling:
        return SpeechSampling("ethan", seed=seed, max_frames=32)

    prompt, text = truths[0].prompt, truths[0].text
    alone = await talker.speak(prompt, text, sampled(7))
    company = await asyncio.gather(*(talker.speak(prompt, text, sampled(seed)) for seed in (7, 8, 9, 7)))
    cramped = await cramped_talker.speak(prompt, text, sampled(7))
    np.testing.assert_array_equal(company[0].codes, alone.codes)
    np.testing.assert_array_equal(company[3].codes, alone.codes)
    np.testing.assert_array_equal(cramped.codes, alone.codes)
    assert not np.array_equal(company[1].codes[: len(alone.codes)], alone.codes[: len(company[1].codes)])


async def test_given_all_that_then_every_slot_is_free_again(
    talker: TalkerRig, cramped_talker: TalkerRig
) -> None:
    for rig in (talker, cramped_talker):
        assert rig.slots.used == 0
        assert rig.running() == 0
