"""The vocoder's training runs the served model in parts, with the same result."""

from __future__ import annotations

import pytest
import torch
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav

from antiphon_executor.models.qwen3_5_omni.presets import nano
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.speech.vocoder.discriminators import (
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
)
from antiphon_nano.speech.vocoder.excerpt import Cut, cut_out
from antiphon_nano.speech.vocoder.spectral_loss import SpectralLoss
from antiphon_nano.speech.vocoder.vocoder import (
    cut_samples,
    features,
    fresh_vocoder,
    waveform,
)
from antiphon_nano.speech.vocoder.vocoder_training import scored, sounds_of

FRAMES = 12


@pytest.fixture(scope="module")
def model() -> Qwen3OmniMoeCode2Wav:
    torch.manual_seed(0)
    config = nano(nano_tokenizer().get_vocab()).code2wav_config
    return fresh_vocoder(config, torch.randn(8, 512, 64)).eval()


@pytest.fixture(scope="module")
def codes() -> torch.Tensor:
    return torch.randint(512, (2, 8, FRAMES), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_the_two_parts_are_the_whole(model: Qwen3OmniMoeCode2Wav, codes: torch.Tensor) -> None:
    made = waveform(model, features(model, codes))
    torch.testing.assert_close(made.clamp(-1, 1), model(codes)[:, 0])
    assert made.shape[1] == FRAMES * 1920 - cut_samples(model.config)


@torch.no_grad()
def test_scored_samples_depend_on_the_given_context_alone(
    model: Qwen3OmniMoeCode2Wav, codes: torch.Tensor
) -> None:
    rows, sound = features(model, codes), torch.randn(2, FRAMES * 1920)
    made, meant = scored(waveform, model, rows, sound, Cut(2, FRAMES - 4, 4))
    whole = waveform(model, rows)
    torch.testing.assert_close(made, whole[:, (FRAMES - 4) * 1920 :], atol=1e-5, rtol=0)
    assert meant.equal(sound[:, (FRAMES - 4) * 1920 : whole.shape[1]])


@torch.no_grad()
def test_an_untrained_vocoder_depends_on_its_codes(model: Qwen3OmniMoeCode2Wav, codes: torch.Tensor) -> None:
    first, second = model(codes)[:, 0]
    assert (first - second).std() > 0.3 * first.std() > 0


def test_a_frame_s_mean_embedding_is_its_quantized_vector_rotated() -> None:
    torch.manual_seed(0)
    codebooks = torch.randn(8, 512, 64)
    embedding = fresh_vocoder(nano(nano_tokenizer().get_vocab()).code2wav_config, codebooks).code_embedding
    codes = torch.randint(512, (40, 8))
    mean = embedding(codes + torch.arange(8) * 512).mean(1)
    vectors = torch.stack([codebooks[group][codes[:, group]] for group in range(8)]).sum(0)
    ratio = torch.cdist(mean, mean)[0, 1:] / torch.cdist(vectors, vectors)[0, 1:]
    torch.testing.assert_close(ratio, ratio.mean().expand(39), rtol=1e-4, atol=0)
    assert 0.7 < mean.std() < 1.4


def test_the_spectral_loss_is_zero_for_equal_audio_and_falls_towards_it() -> None:
    torch.manual_seed(0)
    loss = SpectralLoss()
    meant, other = torch.randn(2, 9600) * 0.1, torch.randn(2, 9600) * 0.1
    assert loss(meant, meant) == 0
    assert loss(meant + 0.1 * other, meant) < loss(meant + other, meant)


def test_a_silent_sound_has_a_gradient() -> None:
    made = torch.zeros(1, 9600, requires_grad=True)
    SpectralLoss()(made, torch.zeros(1, 9600)).backward()
    assert made.grad is not None
    assert made.grad.isfinite().all()


def test_an_excerpt_beyond_the_ends_is_filled() -> None:
    track = torch.arange(10)[:, None]
    filler = torch.full((1, 1), -7)
    assert cut_out(track, -2, 4, filler)[:, 0].tolist() == [-7, -7, 0, 1]
    assert cut_out(track, 8, 4, filler)[:, 0].tolist() == [8, 9, -7, -7]
    assert cut_out(track, -1, 12, filler)[:, 0].tolist() == [-7, *range(10), -7]


def test_generated_audio_has_whole_frames(model: Qwen3OmniMoeCode2Wav, codes: torch.Tensor) -> None:
    (sound,) = sounds_of(model, [codes[0].T])
    assert len(sound) == FRAMES * 1920


def test_discriminators_and_generated_audio_learn_from_their_losses() -> None:
    torch.manual_seed(0)
    rivals = Discriminators(width=4)
    recorded = torch.sin(torch.arange(4800) * 0.1).expand(2, -1) * 0.3
    made = (torch.randn(2, 4800) * 0.1).requires_grad_()
    optimizer = torch.optim.Adam(rivals.parameters(), 1e-3)
    before = discriminator_loss(rivals(recorded), rivals(made.detach())).item()
    for _ in range(30):
        telling = discriminator_loss(rivals(recorded), rivals(made.detach()))
        telling.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert telling.item() < 0.7 * before
    opinions = rivals(made)
    assert feature_matching_loss(opinions, opinions) == 0
    (adversarial_loss(opinions) + feature_matching_loss(rivals(recorded), opinions)).backward()
    assert made.grad is not None
    with torch.no_grad():
        assert adversarial_loss(rivals(made - 0.3 * made.grad / made.grad.abs().max())) < adversarial_loss(
            opinions
        )
