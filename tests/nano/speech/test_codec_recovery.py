"""The codec of a vocoder: its codebooks are recovered, and an encoder learns to match them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav

from antiphon_executor.models.qwen3_5_omni.presets import nano
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.speech.recordings import Recordings
from antiphon_nano.speech.recovery.codec_recovery import (
    FeaturesToMel,
    Pairs,
    RecoveryTraining,
    codebooks_of,
    recovered,
)
from antiphon_nano.speech.vocoder.vocoder import fresh_vocoder
from antiphon_nano.teacher import shard


@pytest.fixture(scope="module")
def codebooks() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(8, 512, 64) * 0.7 ** torch.arange(8)[:, None, None]


@pytest.fixture(scope="module")
def vocoder(codebooks: torch.Tensor) -> Qwen3OmniMoeCode2Wav:
    config = nano(nano_tokenizer().get_vocab()).code2wav_config
    return fresh_vocoder(config, codebooks).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    folder = tmp_path_factory.mktemp("speech")
    noise = np.random.default_rng(0).standard_normal(60 * 1920).astype(np.float32) * 0.1
    shard.write(folder / "train-000", [shard.Utterance("It is red.", "heart", 0, 60, [], [])], [noise])
    return Recordings(folder)


def test_the_codebooks_are_recovered_rotated(vocoder: Qwen3OmniMoeCode2Wav, codebooks: torch.Tensor) -> None:
    found, _ = codebooks_of(vocoder)
    ours, theirs = (torch.cdist(books[0], books[3]) for books in (found, codebooks))
    torch.testing.assert_close(ours / ours.mean(), theirs / theirs.mean(), atol=1e-3, rtol=1e-3)


def test_a_sum_of_entries_is_the_vocoder_s_embedding(
    vocoder: Qwen3OmniMoeCode2Wav, speech: Recordings
) -> None:
    codec, turn = recovered(vocoder, speech)
    codes = torch.randint(512, (50, 8), generator=torch.Generator().manual_seed(0))
    rows = vocoder.code_embedding(codes + vocoder.code_offset[..., 0]).mean(1)
    torch.testing.assert_close(codec.quantizer.decode(codes) @ turn, rows, atol=1e-4, rtol=1e-4)


def test_an_encoder_learns_the_codes_of_its_input(vocoder: Qwen3OmniMoeCode2Wav, speech: Recordings) -> None:
    torch.manual_seed(0)
    codec, turn = recovered(vocoder, speech)
    pairs = Pairs(vocoder, [torch.randint(512, (60, 8))])
    optimizer = torch.optim.AdamW(codec.encoder.parameters(), 1e-3)
    training = RecoveryTraining(speech, codec, pairs, FeaturesToMel(vocoder, turn, codec, pairs), optimizer)
    first = training.step(0)
    for _ in range(25):
        last = training.step(0)
    assert last["pairs"] < 0.9 * first["pairs"]
    assert set(training.step(1000)) == {"pairs", "codes", "mel", "commitment"}
    assert codec.encode(speech.sound(0)[None]).shape == (1, 60, 8)
