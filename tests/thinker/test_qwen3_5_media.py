"""Each medium alone: its features equal transformers' and the reference's, its tokens the formulas'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image
from transformers.models.qwen2_vl import Qwen2VLImageProcessor, Qwen2VLVideoProcessor
from transformers.models.qwen3_vl import Qwen3VLVideoProcessor

from antiphon_executor.models.qwen3_5_omni.media import AudioFields, MediaReader, VideoFields
from antiphon_executor.models.qwen3_5_omni.presets import published
from antiphon_executor.models.thinker.clip import Clip
from antiphon_executor.models.thinker.windows import SoundWindow
from antiphon_executor.reference.mel import log_mel
from tests.thinker.qwen3_5_rig import clip, picture, video

SIZE = {"shortest_edge": 4 * 32 * 32, "longest_edge": 768 * 32 * 32}
CUT = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "size": SIZE}
THINKER = published().thinker_config
PICTURES = Qwen2VLImageProcessor(**CUT)
VIDEOS = Qwen2VLVideoProcessor(**CUT)


def spell(text: str) -> list[int]:
    return [ord(character) for character in text]


def reader(videos: Any = VIDEOS, dtype: torch.dtype = torch.float32) -> MediaReader:
    return MediaReader(THINKER, spell, PICTURES, videos, dtype)


def heard(tokens: list[int]) -> int:
    return tokens.count(THINKER.audio_token_id)


def seen(tokens: list[int]) -> int:
    return tokens.count(THINKER.image_token_id) + tokens.count(THINKER.video_token_id)


@pytest.mark.parametrize(
    ("samples", "tokens"), [(400, 1), (16_000, 7), (16_001, 7), (40_000, 18), (960_000, 420)]
)
def test_a_second_of_sound_is_seven_tokens_and_nothing_else(samples: int, tokens: int) -> None:
    fields = reader().audio(SoundWindow.whole(clip(samples).samples))
    assert reader().tokens("audio", fields) == [THINKER.audio_token_id] * tokens
    assert torch.equal(fields["input_audio_features"], log_mel(clip(samples).samples))


@pytest.mark.parametrize(("seconds", "stamps"), [(60, 0), (61, 1), (1_200, 19), (36_000, 599)])
def test_long_sound_has_a_timestamp_each_minute_and_fits_up_to_ten_hours(seconds: int, stamps: int) -> None:
    fields = AudioFields(
        input_audio_features=torch.zeros(128, 0),
        audio_feature_lengths=torch.tensor(100 * seconds),
        audio_first_frame=torch.tensor(0),
    )
    tokens = reader().tokens("audio", fields)
    assert heard(tokens) == 7 * seconds
    assert tokens.count(ord("<")) == stamps
    assert len(tokens) < 262_144


@pytest.mark.parametrize(
    ("height", "width", "tokens"),
    [(32, 32, 4), (64, 64, 4), (640, 480, 300), (704, 1088, 748), (3, 96, 12), (63, 65, 4), (1, 190, 28)],
)
def test_a_picture_is_a_token_each_32_by_32_pixels(height: int, width: int, tokens: int) -> None:
    pixels = picture(height, width).pixels
    fields = reader().picture(Image.fromarray(pixels))
    assert reader().tokens("image", fields) == [THINKER.image_token_id] * tokens
    expected = PICTURES(images=[Image.fromarray(pixels)], return_tensors="pt")
    assert torch.equal(fields["pixel_values"], expected["pixel_values"])
    assert torch.equal(fields["image_grid_thw"], expected["image_grid_thw"][0])


@pytest.mark.parametrize(
    ("frames", "size"), [(2, (64, 64)), (1, (64, 96)), (5, (63, 97)), (3, (3, 96)), (3, (96, 3))]
)
def test_two_frames_of_a_video_are_one_patch_in_time(frames: int, size: tuple[int, int]) -> None:
    shown = video(frames, 1.0, size)
    fields = reader().video(shown.frames, {"fps": 1.0})
    channels_first = torch.from_numpy(shown.frames).permute(0, 3, 1, 2)
    expected = VIDEOS(
        videos=[channels_first],
        do_sample_frames=False,
        input_data_format="channels_first",
        return_tensors="pt",
    )
    assert torch.equal(fields["pixel_values_videos"], expected["pixel_values_videos"])
    grid = expected["video_grid_thw"][0]
    assert torch.equal(fields["video_grid_thw"], grid)
    assert int(grid[0]) == -(-frames // 2)
    assert (int(grid[1]) > int(grid[2])) == (size[0] > size[1])
    assert seen(reader().tokens("video", fields)) == int(grid.prod()) // 4
    assert not fields["sound_mask"].any()
    assert fields["sound_features"].shape == (128, 0)


def test_a_minute_of_video_at_a_frame_a_second_is_thirty_patches_with_their_times() -> None:
    fields = reader().video(video(60, 1.0, (64, 96)).frames, {"fps": 1.0, "sound": Clip(clip(960_000))})
    tokens = reader().tokens("video", fields)
    assert (seen(tokens), heard(tokens), tokens.count(ord("<"))) == (30 * 6, 420, 30)


def test_the_mask_says_which_rows_of_a_video_are_sound() -> None:
    fields = reader().video(video(4, 2.0, (64, 64)).frames, {"fps": 2.0, "sound": Clip(clip(40_000))})
    assert fields["sound_mask"].tolist() == [False] * 4 + [True] * 7 + [False] * 4 + [True] * 11
    assert torch.equal(fields["sound_features"], log_mel(clip(40_000).samples))
    assert int(fields["sound_lengths"]) == 250


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_the_video_processor_may_be_qwen3_vls(frames: int) -> None:
    shown = video(frames, 4.0, (64, 96))
    fields = reader(Qwen3VLVideoProcessor(size=SIZE)).video(shown.frames, {"fps": 4.0})
    assert fields["video_grid_thw"].tolist()[0] == -(-frames // 2)
    assert seen(reader().tokens("video", fields)) == int(fields["video_grid_thw"].prod()) // 4


@pytest.mark.parametrize(("first", "stop"), [(1, 13_000), (800, 12_001), (0, 900), (12_000, 13_000)])
def test_windows_are_cut_at_multiples_of_eight_seconds(first: int, stop: int) -> None:
    with pytest.raises(ValueError, match=rf"{first} to {stop} of 25000 are no window: .* of 800"):
        reader().audio(SoundWindow(Clip(clip(16_000 * 250)), first, stop))


def test_pixels_come_as_the_model_computes() -> None:
    fields = reader(dtype=torch.bfloat16).picture(Image.fromarray(picture(64, 64).pixels))
    assert fields["pixel_values"].dtype == torch.bfloat16


@pytest.mark.parametrize("processor", [Qwen2VLImageProcessor, Qwen2VLVideoProcessor])
def test_a_processor_that_cuts_other_patches_is_refused(processor: Callable[..., Any]) -> None:
    wrong = processor(**CUT | {"patch_size": 14})
    parts = (wrong, VIDEOS) if processor is Qwen2VLImageProcessor else (PICTURES, wrong)
    with pytest.raises(ValueError, match=r"cuts .* \(14, 2, 2\), its vision tower expects \(16, 2, 2\)"):
        MediaReader(THINKER, spell, *parts)


def test_the_longest_video_has_a_mask_as_long_as_its_tokens() -> None:
    fields = VideoFields(
        pixel_values_videos=torch.zeros(0),
        video_grid_thw=torch.tensor([300, 40, 60]),
        video_frames=torch.tensor(600),
        video_fps=torch.tensor(1.0, dtype=torch.float64),
        video_patches=torch.tensor([0, 300]),
        sound_features=torch.zeros(128, 0),
        sound_lengths=torch.tensor(60_000),
        sound_frames=torch.tensor(60_000),
        sound_first=torch.tensor(0),
        sound_skip=torch.tensor(0),
        sound_mask=torch.zeros(0, dtype=torch.bool),
    )
    tokens = reader().tokens("video", fields)
    assert (seen(tokens), heard(tokens)) == (180_000, 4_200)
    assert len(tokens) < 262_144
