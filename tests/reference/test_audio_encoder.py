"""AuT's number of rows follows the formula; with three convolutions it equals Qwen3-Omni's encoder."""

from __future__ import annotations

import pytest
import torch
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeAudioEncoderConfig
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeAudioEncoder

from antiphon_executor.interface.audio_geometry import SAMPLE_RATE_HZ, AudioGeometry, mel_frames
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeAudioConfig
from antiphon_executor.reference.audio_encoder import AudioEncoder
from tests.reference.mini import AUDIO_TOWER, make_loud


def encoder(**sizes: int) -> AudioEncoder:
    model = AudioEncoder(Qwen3_5OmniMoeAudioConfig(**(AUDIO_TOWER | sizes))).eval()
    make_loud(model, seed=1)
    return model


@torch.no_grad()
def test_every_length_has_as_many_rows_as_the_formula_counts() -> None:
    model = encoder()
    lengths = [*range(1, 205, 3), 799, 800, 801, 1_650]
    assert [len(model(torch.randn(128, frames))) for frames in lengths] == [
        AudioGeometry().tokens(frames) for frames in lengths
    ]


@torch.no_grad()
@pytest.mark.parametrize("milliseconds", [1, 10, 1_234, 60_000, 3_600_000])
def test_from_a_millisecond_to_an_hour(milliseconds: int) -> None:
    model = encoder(encoder_layers=1, downsample_hidden_size=1, num_mel_bins=16)
    frames = mel_frames(milliseconds * SAMPLE_RATE_HZ // 1000)
    rows = model(torch.randn(16, frames))
    assert rows.shape == (AudioGeometry().tokens(frames), 32)
    assert rows.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("frames", [100, 237, 800, 1_930])
def test_with_three_halvings_it_is_transformers_encoder_of_qwen3_omni(frames: int) -> None:
    ours = encoder(downsample_times=3)
    oracle = Qwen3OmniMoeAudioEncoder(
        Qwen3OmniMoeAudioEncoderConfig(**AUDIO_TOWER, n_window_infer=800)
    ).eval()
    oracle.load_state_dict(ours.state_dict())
    mel = torch.randn(128, frames)
    expected = oracle(mel, feature_lens=torch.tensor([frames])).last_hidden_state
    torch.testing.assert_close(ours(mel), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_sound_beyond_eight_seconds_changes_nothing_before() -> None:
    model = encoder()
    mel = torch.randn(128, 1_700)
    whole = model(mel)
    torch.testing.assert_close(whole[:56], model(mel[:, :800]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(whole[112:], model(mel[:, 1_600:]), rtol=1e-5, atol=1e-5)
    changed = mel.clone()
    changed[:, 0] += 1
    assert not torch.allclose(model(changed)[55], whole[55], atol=1e-4)
