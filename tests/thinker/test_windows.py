"""Windows of long media give the tokens, positions and features of the whole."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from vllm.multimodal.cache import MultiModalProcessorOnlyCache

from antiphon_executor.interface.audio_geometry import mel_frames
from antiphon_executor.interface.media import AudioClip, KnownClip, VideoClip
from antiphon_executor.interface.media_geometry import MediaGeometry, PerFrameBounds, PixelBounds
from antiphon_executor.models.qwen3_5_omni import prompt as rules
from antiphon_executor.models.qwen3_5_omni.tm_rope import MediaSpan, TmRope
from antiphon_executor.models.qwen3_omni.positions import (
    AudioSpan,
    SoundVideoSpan,
    VisionSpan,
    merge_order,
    prompt_positions,
    sound_before,
)
from antiphon_executor.models.qwen3_omni.positions import (
    MediaSpan as OldMediaSpan,
)
from antiphon_executor.models.thinker.clip import Clip
from antiphon_executor.models.thinker.log_mel import log_mel, loudest_level
from antiphon_executor.models.thinker.window_length import WINDOW_FRAMES
from antiphon_executor.models.thinker.windows import (
    WINDOW_VIDEO_TOKENS,
    sound_windows,
    video_windows,
)
from tests.thinker.qwen3_5_rig import Rig, clip, rig, video

SECOND = 16_000


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return rig(tmp_path_factory.mktemp("processor"))


def speech(seconds: float, loud_at_s: float) -> np.ndarray:
    """Noise with silence in between, and one loud moment."""
    samples = clip(round(seconds * SECOND)).samples.copy()
    samples[:: 3 * SECOND] = 0
    samples[5 * SECOND : 9 * SECOND] = 0
    samples[round(loud_at_s * SECOND) :][:800] *= 30
    return samples


@pytest.mark.parametrize("loud_at_s", [1.0, 124.0, 249.9])
def test_the_mel_frames_of_all_windows_are_those_of_the_clip(loud_at_s: float) -> None:
    samples = speech(250.017, loud_at_s)
    windows = sound_windows(Clip(AudioClip(samples)))
    assert [window.first for window in windows] == [0, WINDOW_FRAMES, 2 * WINDOW_FRAMES]
    torch.testing.assert_close(
        torch.cat([window.mel(128) for window in windows], dim=1), log_mel(samples, 128), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("samples", [400, 5_000, 16_000 * 31, 16_000 * 95 + 77])
def test_the_loudest_level_is_that_of_all_frames(samples: int) -> None:
    sound = speech(samples / SECOND, samples / SECOND / 2)
    top = float(log_mel(sound, 128).max())
    assert loudest_level(sound, 128) == pytest.approx(4 * top - 4, abs=1e-5)


@pytest.mark.parametrize(
    ("seconds", "windows"), [(0.1, 1), (120, 1), (120.98, 1), (121, 2), (240.99, 2), (36_000, 300)]
)
def test_the_rest_of_a_clip_below_a_second_belongs_to_the_window_before(seconds: float, windows: int) -> None:
    silence = np.broadcast_to(np.float32(0), round(seconds * SECOND))
    cut = sound_windows(Clip(AudioClip(silence)))
    assert len(cut) == windows
    assert cut[-1].stop == mel_frames(round(seconds * SECOND))
    assert all(one.stop == other.first for one, other in pairwise(cut))
    assert all(window.stop - window.first >= min(100, cut[-1].stop) for window in cut)


@pytest.mark.parametrize(("fps", "frames"), [(1.0, 8), (2.0, 10), (30.0, 10), (0.37, 10)])
def test_a_window_of_video_has_at_most_so_many_tokens_and_ends_at_a_block_of_sound_if_it_can(
    fps: float, frames: int
) -> None:
    long = VideoClip(np.broadcast_to(np.uint8(0), (90, 352, 576, 3)), fps)
    windows = video_windows(long, None, MediaGeometry())
    assert len(windows[0][0]) == frames
    assert frames // 2 * 11 * 18 <= WINDOW_VIDEO_TOKENS
    assert sum(len(part) for part, _ in windows) == 90


def test_a_window_of_720p_is_two_frames() -> None:
    """It was four, and the step that encodes them took a second."""
    film = VideoClip(np.broadcast_to(np.uint8(0), (60, 720, 1280, 3)), 1.0)
    geometry = MediaGeometry(video=PerFrameBounds(PixelBounds(max_pixels=1280 * 704)))
    assert geometry.frame_tokens(60, (720, 1280)) == 880
    assert {len(frames) for frames, _ in video_windows(film, None, geometry)} == {2}


LONG = (
    clip(SECOND * 245 + 77),
    video(72, 0.5, (40, 70)),
    video(50, 0.37, (40, 70), sound=134 * SECOND + 1234),
    video(300, 2.0, (40, 70), sound=151 * SECOND),
    video(300, 2.0, (40, 70), sound=60 * SECOND),
    video(131, 0.99173, (40, 70), sound=200 * SECOND),
)


@pytest.mark.parametrize("part", LONG, ids=range(len(LONG)))
def test_windows_of_qwen3_5_omni_are_the_whole(tiny: Rig, part: AudioClip | VideoClip) -> None:
    template, _ = tiny.template(40, part, 41)
    expected = tiny.rules.expand(template, [medium(part)])
    output = tiny.process(40, part, 41)
    kind = "audio" if isinstance(part, AudioClip) else "video"
    assert len(output["mm_placeholders"][kind]) > 1
    assert output["prompt_token_ids"] == expected.token_ids.tolist()
    positions = TmRope(tiny.config.thinker_config).positions(expected.token_ids, list(spans(output, kind)))
    np.testing.assert_array_equal(positions, expected.positions)


def medium(part: AudioClip | VideoClip) -> rules.Medium:
    if isinstance(part, AudioClip):
        return rules.Sound(mel_frames(len(part.samples)))
    sound = mel_frames(len(part.audio.samples)) if part.audio else 0
    # The tiny checkpoint's frames are 64 x 96 pixels at this size.
    return rules.Video(len(part.frames), part.frames_per_second, (2, 3), sound)


def spans(output: Any, kind: str) -> Any:
    for place, item in zip(output["mm_placeholders"][kind], output["mm_kwargs"][kind], strict=True):
        if kind == "audio":
            yield MediaSpan(place.offset, place.length)
            continue
        _, height, width = item["video_grid_thw"].data.tolist()
        yield MediaSpan(place.offset, place.length, (height // 2, width // 2), int(item["sound_first"].data))


@pytest.mark.parametrize("sound_tokens", [0, 5, 300, 900])
@pytest.mark.parametrize("step", [26.0, 13.0, 2 / 0.37 * 13, 0.43])
def test_windows_of_qwen3_omni_continue_each_other(step: float, sound_tokens: int) -> None:
    """Order and positions of a video in windows are those of the video in one piece."""
    grids, size = 23, (3, 40)
    whole: list[OldMediaSpan] = [
        SoundVideoSpan(2, (grids, *size), step, sound_tokens)
        if sound_tokens
        else VisionSpan(2, (grids, *size), step)
    ]
    order = merge_order((grids, *size), step, sound_tokens)
    parts: list[OldMediaSpan] = []
    orders, start, area = [], 2, size[0] * size[1]
    for first, last in ((0, 9), (9, 10), (10, 23)):
        heard = sound_before(first, step, sound_tokens)
        until = sound_tokens if last == grids else sound_before(last, step, sound_tokens)
        grid = (last - first, *size)
        part = merge_order(grid, step, until - heard, first, heard)
        seen = part < len(part) - (until - heard)
        orders.append(np.where(seen, part + first * area, part - seen.sum() + grids * area + heard))
        parts.append(
            SoundVideoSpan(start, grid, step, until - heard, first, heard)
            if until > heard
            else VisionSpan(start, grid, step, first)
        )
        start += len(part)
    np.testing.assert_array_equal(np.concatenate(orders), order)
    tail = AudioSpan(start + 1, 4)
    np.testing.assert_array_equal(
        prompt_positions(start + 9, [*parts, tail]), prompt_positions(start + 9, [*whole, tail])
    )


def test_a_known_clip_is_decoded_only_if_a_window_of_it_is_missing(tiny: Rig) -> None:
    sound = AudioClip(clip(SECOND * 130).samples, "key")
    decoded: list[str] = []

    def decode() -> AudioClip:
        decoded.append("again")
        return sound

    known = KnownClip("key", sound.num_samples, decode)
    cache = MultiModalProcessorOnlyCache(tiny.processor.info.ctx.model_config)
    first = tiny.process(40, sound, 41, cache=cache)
    assert same(tiny.process(42, known, cache=cache), first)
    assert decoded == []
    assert same(tiny.process(42, known, cache=None), first)
    assert decoded == ["again"]


def test_windows_without_keys_are_hashed_by_their_samples(tiny: Rig) -> None:
    """vLLM's trial runs give none."""
    arrays = [clip(SECOND, seed).samples for seed in (1, 2, 1)]
    items = tiny.processor.info.parse_mm_data({"audio": arrays})["audio"]
    first, second, third = items.get_all_items_for_hash()
    assert isinstance(first, str)
    assert first == third != second


def same(one: Any, other: Any) -> bool:
    """The same windows, from wherever they came."""
    pairs = zip(one["mm_kwargs"]["audio"], other["mm_kwargs"]["audio"], strict=True)
    return one["mm_hashes"] == other["mm_hashes"] and all(
        torch.equal(left[name].data, right[name].data) for left, right in pairs for name in left
    )
