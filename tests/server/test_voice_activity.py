"""Silero VAD in numpy: the published model's own numbers, alone and in a batch."""

from __future__ import annotations

import asyncio
from importlib.resources import files

import numpy as np
import pytest

from antiphon_server.media.wav_header import wav_header
from antiphon_server.voice_activity import scorer as scorer_module
from antiphon_server.voice_activity.network import FRAME, SpeechNetwork
from antiphon_server.voice_activity.scorer import Abandoned, SpeechScorer, score_batch
from antiphon_server.voice_activity.stream import SpeechStream

# Of the sample question behind 1 s of silence, read as if it had 16 kHz, by onnxruntime 1.32 with
# silero_vad_16k_op15.onnx of silero-vad 6.2.3: frames 30 to 71.
REFERENCE = [
    0.00364, 0.68712, 0.86380, 0.99484, 0.99945, 0.99964, 0.99986, 0.10598,
    0.86502, 0.98340, 0.83104, 0.08306, 0.38004, 0.94969, 0.91902, 0.89033,
    0.90782, 0.90747, 0.98752, 0.97839, 0.97000, 0.94582, 0.95468, 0.96030,
    0.99600, 0.99427, 0.99494, 0.98994, 0.99912, 0.99933, 0.99963, 0.99940,
    0.99961, 0.99975, 0.99982, 0.99979, 0.99981, 0.81490, 0.54604, 0.17674,
    0.03401, 0.01002,
]  # fmt: skip


def question() -> np.ndarray:
    data = (files("antiphon_server.cli") / "samples" / "question.wav").read_bytes()
    samples = np.frombuffer(data[len(wav_header(0, 16_000)) :], "<i2")
    padded = np.concatenate((np.zeros(16_000, np.int16), samples, np.zeros(16_000, np.int16)))
    return padded[: len(padded) // FRAME * FRAME].reshape(-1, FRAME)


@pytest.fixture(scope="module")
def network() -> SpeechNetwork:
    return SpeechNetwork()


def test_it_equals_the_published_model(network: SpeechNetwork) -> None:
    (scores,) = score_batch(network, [SpeechStream()], [question()])
    assert np.abs(scores[30 : 30 + len(REFERENCE)] - REFERENCE).max() < 1e-4
    assert scores[:30].max() < 0.05


def test_streams_of_one_batch_do_not_disturb_each_other(network: SpeechNetwork) -> None:
    speech = question()
    noise = np.random.default_rng(2).integers(-300, 300, speech.shape).astype(np.int16)
    alone = [score_batch(network, [SpeechStream()], [one])[0] for one in (speech, noise)]
    together = score_batch(network, [SpeechStream(), SpeechStream()], [speech, noise[:40]])
    assert np.abs(together[0] - alone[0]).max() < 1e-4
    assert np.abs(together[1] - alone[1][:40]).max() < 1e-4


def test_a_stream_in_parts_is_a_stream(network: SpeechNetwork) -> None:
    speech, stream = question(), SpeechStream()
    whole = score_batch(network, [SpeechStream()], [speech])[0]
    parts = [score_batch(network, [stream], [part])[0] for part in (speech[:7], speech[7:31], speech[31:])]
    assert np.abs(np.concatenate(parts) - whole).max() < 1e-5


def test_a_recording_in_parts_is_scored_as_one_stream() -> None:
    """The sample question again and again, longer than three parts."""
    speech = np.tile(question().reshape(-1), 30)
    scorer = SpeechScorer()
    whole = scorer.score_recording(speech.astype(np.float32) / 32_768)
    (stream,) = score_batch(SpeechNetwork(), [SpeechStream()], [speech.reshape(-1, FRAME)])
    assert len(whole) == len(stream) > 3 * 938
    assert np.mean((whole >= 0.5) != (stream >= 0.5)) < 0.002
    assert len(scorer.score_recording(np.zeros(0, np.float32))) == 0
    assert len(scorer.score_recording(np.zeros(513, np.float32))) == 2


def test_the_scores_of_a_recording_can_be_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer_module, "_PART", 10)
    monkeypatch.setattr(scorer_module, "_SIDE_BY_SIDE", 2)
    asked = iter([False, False, True])
    with pytest.raises(Abandoned):
        SpeechScorer().score_recording(np.zeros(100 * FRAME, np.float32), lambda: next(asked))


async def test_many_connections_are_scored_side_by_side() -> None:
    scorer, speech = SpeechScorer(), question()
    (whole,) = score_batch(SpeechNetwork(), [SpeechStream()], [speech])

    async def connection() -> np.ndarray:
        stream = SpeechStream()
        return np.concatenate(
            [await scorer.score(stream, speech[at : at + 9]) for at in range(0, len(speech), 9)]
        )

    for scores in await asyncio.gather(*(connection() for _ in range(6))):
        assert np.abs(scores - whole).max() < 1e-4


async def test_a_caller_that_leaves_harms_no_other() -> None:
    scorer, speech = SpeechScorer(), question()
    leaving = asyncio.create_task(scorer.score(SpeechStream(), speech))
    staying = asyncio.create_task(scorer.score(SpeechStream(), speech))
    await asyncio.sleep(0)
    leaving.cancel()
    assert len(await staying) == len(speech)
    assert len(await scorer.score(SpeechStream(), speech[:3])) == 3


async def test_a_fault_reaches_those_who_wait_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, speech = SpeechScorer(), question()
    score = scorer._score

    def fail(_: object) -> list[np.ndarray]:
        raise MemoryError

    monkeypatch.setattr(scorer, "_score", fail)
    with pytest.raises(MemoryError):
        await asyncio.wait_for(scorer.score(SpeechStream(), speech[:3]), 60)
    monkeypatch.setattr(scorer, "_score", score)
    assert len(await scorer.score(SpeechStream(), speech[:3])) == 3
