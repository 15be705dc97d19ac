"""The codec's parts: mel frames, residual quantization, and codes that fit the frames."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from antiphon_nano.speech.codec.codec import Codec
from antiphon_nano.speech.codec.mel import LogMel, mel_bank
from antiphon_nano.speech.codec.rvq import ResidualQuantizer, k_means


def tone(hertz: float, seconds: float = 0.8) -> torch.Tensor:
    return 0.3 * torch.sin(2 * np.pi * hertz * torch.arange(int(24_000 * seconds)) / 24_000)


def test_a_tone_is_loudest_in_the_mel_that_holds_it() -> None:
    bank = mel_bank(1024, 80)
    for hertz in (440.0, 1500.0, 6000.0):
        loudest = LogMel()(tone(hertz)[None])[0].mean(1).argmax()
        low, high = (bank[loudest] > 0).nonzero()[[0, -1], 0] * 24_000 / 1024
        assert low - 24 <= hertz <= high + 24


def test_a_mel_frame_is_made_for_every_ten_milliseconds() -> None:
    assert LogMel()(torch.zeros(2, 1920 * 3)).shape == (2, 80, 24)


def test_griffin_lim_finds_a_sound_with_the_same_mel() -> None:
    torch.manual_seed(0)
    mel = LogMel()
    sound = tone(300) + tone(1200)
    again = mel.sound(mel(sound[None])[0])
    assert again.shape == sound.shape
    inner = slice(4, -4)
    assert (mel(again[None])[0, :, inner] - mel(sound[None])[0, :, inner]).abs().mean() < 0.6


def test_k_means_finds_clusters() -> None:
    torch.manual_seed(0)
    middles = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [8.0, 8.0]])
    vectors = (middles[:, None] + 0.1 * torch.randn(4, 50, 2)).flatten(0, 1)
    found = k_means(vectors, 8, rounds=10)
    assert torch.cdist(middles, found).min(1).values.max() < 0.5


def test_each_codebook_quantizes_the_residual_of_the_ones_before() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(2000, 8)
    quantizer = ResidualQuantizer(groups=4, entries=32, width=8).eval()
    quantizer.start(vectors)
    _, codes, _ = quantizer(vectors)
    left = [vectors.square().mean()]
    for groups in range(1, 5):
        some = torch.stack([quantizer.codebooks[group][codes[:, group]] for group in range(groups)]).sum(0)
        left.append((vectors - some).square().mean())
    assert all(after < 0.8 * before for before, after in pairwise(left))


def test_quantized_vectors_equal_their_codes_and_gradients_pass() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(100, 8, requires_grad=True)
    quantizer = ResidualQuantizer(groups=3, entries=16, width=8).eval()
    quantizer.start(vectors.detach())
    quantized, codes, _ = quantizer(vectors)
    torch.testing.assert_close(quantized, quantizer.decode(codes), atol=1e-5, rtol=0)
    quantized.sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.eq(1).all()


def test_an_unused_entry_moves_to_a_vector() -> None:
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(groups=1, entries=4, width=2, decay=0.5).train()
    quantizer.start(torch.randn(64, 2))
    quantizer.codebooks[0, 0] = quantizer.sums[0, 0] = 1e3
    for _ in range(20):
        quantizer(torch.randn(64, 2))
    assert quantizer.codebooks.abs().max() < 10


def test_a_frame_of_80_ms_has_eight_codes() -> None:
    torch.manual_seed(0)
    codec = Codec().eval()
    codec.quantizer.start(torch.randn(600, 64))
    codes = codec.encode(torch.randn(2, 1920 * 5) * 0.1)
    assert codes.shape == (2, 5, 8)
    assert codec.decode(codes[0]).shape == (80, 40)


def test_the_encoder_s_scale_does_not_change_the_codes() -> None:
    torch.manual_seed(0)
    codec = Codec().train()
    mel = 4 * torch.randn(6, 80, 64)
    last = codec.encoder.layers[-1]
    with torch.no_grad():
        last.weight.mul_(16)
        before = codec.vectors(mel)
        # A power of two, which bfloat16 multiplies by without rounding.
        last.weight.mul_(64)
        last.bias.mul_(64)
    torch.testing.assert_close(codec.vectors(mel), before, atol=0.02, rtol=0.02)


def test_the_mel_decoder_is_causal() -> None:
    torch.manual_seed(0)
    decoder = Codec().decoder.eval()
    vectors = torch.randn(1, 64, 10)
    changed = vectors.clone()
    changed[..., 6:] += 1
    with torch.no_grad():
        torch.testing.assert_close(decoder(vectors)[..., : 6 * 8], decoder(changed)[..., : 6 * 8])
