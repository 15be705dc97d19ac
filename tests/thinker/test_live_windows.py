"""A clip in windows of 8 s, read while it is recorded, is the clip: its frames, tokens and positions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from antiphon_executor.interface.audio_geometry import mel_frames
from antiphon_executor.interface.media import AudioClip, KnownClip, StoredClip
from antiphon_executor.models.qwen3_5_omni import prompt as rules
from antiphon_executor.models.qwen3_5_omni.media_spans import media_spans
from antiphon_executor.models.qwen3_5_omni.tm_rope import TmRope
from antiphon_executor.models.thinker.clip import Clip
from antiphon_executor.models.thinker.log_mel import log_mel
from antiphon_executor.models.thinker.mel_writer import MelWriter
from antiphon_executor.models.thinker.window_length import window_frames
from antiphon_executor.models.thinker.windows import sound_keys, sound_windows
from tests.thinker.qwen3_5_rig import Rig, clip, rig

SECOND = 16_000


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return rig(tmp_path_factory.mktemp("processor"))


def writer(samples: np.ndarray, dtype: torch.dtype = torch.bfloat16) -> MelWriter:
    """It has got the samples in pieces of a second and of a moment."""
    made = MelWriter(128, dtype, window_frames(8))
    for start in range(0, len(samples), SECOND):
        made.write(samples[start : start + SECOND - 99])
        made.write(samples[start + SECOND - 99 : start + SECOND])
    return made


def keys(clip: Any) -> list[str]:
    return sound_keys(sound_windows(Clip(clip)))


@pytest.mark.parametrize("loud_at_s", [1, 24])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_there_is_of_a_clip_has_the_frames_of_the_whole(dtype: torch.dtype, loud_at_s: int) -> None:
    samples = clip(25 * SECOND + 77).samples.copy()
    samples[3 * SECOND : 7 * SECOND] = 0
    samples[loud_at_s * SECOND :][:800] *= 30
    made = writer(samples, dtype)
    so_far, again = made.clip_so_far("key"), made.clip_so_far("key")
    windows, whole = sound_windows(Clip(so_far)), log_mel(samples, 128).to(dtype)
    assert [window.stop for window in windows] == [800, 1600, 2400, 2500]
    assert torch.equal(torch.cat([window.mel(128) for window in windows], dim=1), whole)
    finished = made.finish("key")
    assert keys(so_far) == keys(again) == keys(finished)
    assert torch.equal(Clip(finished).mel(128, 0, 2500), whole)


def test_windows_keep_their_keys_until_the_clip_becomes_louder() -> None:
    samples = clip(25 * SECOND).samples.copy()
    samples[2 * SECOND :][:800] *= 9
    early, late = writer(samples[: 10 * SECOND]), writer(samples)
    first, more = early.windows_so_far("key"), late.windows_so_far("key")
    assert first is not None
    assert more is not None
    assert (first.num_samples, more.num_samples) == (8 * SECOND, 24 * SECOND)
    assert keys(first) == keys(more)[:1]
    assert keys(more) == keys(late.clip_so_far("key"))[:3]
    known = KnownClip(late.clip_so_far("key").key or "", len(samples), lambda: AudioClip(samples), 8)
    assert keys(known) == keys(late.finish("key"))
    samples[24 * SECOND :][:800] *= 90
    assert not set(keys(writer(samples).clip_so_far("key"))) & set(keys(more))


def test_a_loud_moment_counts_before_its_window_is_complete() -> None:
    """The windows are read again while the user still speaks, with the floor that they will have."""
    samples = clip(13 * SECOND).samples.copy()
    made = writer(samples[: 12 * SECOND])
    quiet = made.windows_so_far("key")
    samples[12 * SECOND + 500 :][:800] *= 90
    made.write(samples[12 * SECOND :])
    loud = made.windows_so_far("key")
    assert quiet is not None
    assert loud is not None
    assert loud.num_samples == quiet.num_samples
    assert loud.key != quiet.key
    assert loud.key == made.clip_so_far("key").key


def test_less_than_a_window_is_a_clip_of_samples() -> None:
    """With the second behind it, which may belong to it."""
    made = writer(clip(9 * SECOND - 160).samples)
    assert made.windows_so_far("key") is None
    assert isinstance(made.clip_so_far("key"), AudioClip)
    made.write(clip(160).samples)
    assert made.windows_so_far("key") is not None
    assert isinstance(made.clip_so_far("key"), StoredClip)


@pytest.mark.parametrize("seconds", [9.5, 63.99, 70.0, 130.017])
def test_windows_of_8_s_have_the_tokens_and_positions_of_the_whole(tiny: Rig, seconds: float) -> None:
    """Also where a timestamp of Qwen3.5-Omni stands within a window."""
    samples = clip(round(seconds * SECOND)).samples
    live = writer(samples, torch.float32).clip_so_far("key")
    template, _ = tiny.template(40, live, 41, live)
    sound = rules.Sound(mel_frames(len(samples)))
    expected = tiny.rules.expand(template, [sound, sound])
    output: Any = tiny.process(40, live, 41, live)
    places, items = output["mm_placeholders"]["audio"], output["mm_kwargs"]["audio"]
    assert len(places) == 2 * (int(seconds - 1) // 8 + 1)
    assert output["prompt_token_ids"] == expected.token_ids.tolist()
    features: Any = [
        SimpleNamespace(modality="audio", mm_position=place, data=item)
        for place, item in zip(places, items, strict=True)
    ]
    spans = media_spans(features, tiny.config.thinker_config)
    assert len(spans) == 2
    positions = TmRope(tiny.config.thinker_config).positions(expected.token_ids, spans)
    np.testing.assert_array_equal(positions, expected.positions)


def test_a_window_ends_where_the_towers_attend() -> None:
    with pytest.raises(ValueError, match="multiple of 8 s"):
        window_frames(10)
