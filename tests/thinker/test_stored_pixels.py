"""The pixel values of stored frames are those of frames in memory, and lost ones are NaN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.qwen2_vl import Qwen2VLVideoProcessor
from transformers.models.qwen3_vl import Qwen3VLVideoProcessor

from antiphon_executor.interface.media import StoredFrames, VideoClip
from antiphon_executor.models.thinker.stored_pixels import PixelReader
from tests.thinker.qwen3_5_rig import Rig, clip, rig, video
from tests.thinker.stored_media import stored

CPU = torch.device("cpu")
SIZE = {"shortest_edge": 4 * 32 * 32, "longest_edge": 40 * 32 * 32}
CUT = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2, "size": SIZE}
VIDEOS = (
    video(1, 2.0),
    video(2, 1.0, (64, 96)),
    video(7, 2.0, (41, 70), sound=30_000),
    video(3, 1.0, (3, 96)),
    video(72, 0.5, (40, 70), sound=2_300_000),
    video(300, 2.0, (300, 170), sound=16_000 * 151),
)


@pytest.fixture(scope="module", params=[Qwen2VLVideoProcessor, Qwen3VLVideoProcessor])
def tiny(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Rig:
    return rig(tmp_path_factory.mktemp("processor"), videos=request.param(**CUT))


def items(output: Any) -> list[dict[str, torch.Tensor]]:
    return [{name: field.data for name, field in item.items()} for item in output["mm_kwargs"]["video"]]


@pytest.mark.parametrize("shown", VIDEOS, ids=lambda clip: str(clip.frames.shape))
def test_items_differ_in_their_pixel_values_alone_and_those_are_read_to_the_last_bit(
    tiny: Rig, tmp_path: Path, shown: VideoClip
) -> None:
    reader = PixelReader(lambda: tiny.processor.info.get_hf_processor().video_processor, torch.float32)
    plain, output = tiny.process(40, shown, 41), tiny.process(40, stored(shown, tmp_path), 41)
    assert output["prompt_token_ids"] == plain["prompt_token_ids"]
    for given, item in zip(items(plain), items(output), strict=True):
        place = item.pop("pixel_values_videos")
        assert place.nbytes < 400
        assert torch.equal(reader.read(place, CPU), given.pop("pixel_values_videos"))
        assert all(torch.equal(item[name], given[name]) for name in given)


def test_pixel_values_in_memory_are_taken_as_they_are(tiny: Rig) -> None:
    reader = PixelReader(lambda: None, torch.float32)
    values = torch.rand(4, 6)
    assert reader.read(values, CPU) is values


def test_the_names_of_stored_frames_are_their_keys(tiny: Rig, tmp_path: Path) -> None:
    shown, other = (stored(video(3, 1.0, seed=seed), tmp_path) for seed in (0, 1))
    heard = VideoClip(shown.frames, 1.0, clip(9_000))
    hashes = [tiny.process(one)["mm_hashes"]["video"][0] for one in (shown, shown, other, heard)]
    assert hashes[0] == hashes[1]
    assert len({*hashes}) == 3


def test_lost_frames_become_nan(tiny: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shown = stored(video(3, 1.0, (64, 96)), tmp_path)
    [item] = items(tiny.process(shown))
    assert isinstance(shown.frames, StoredFrames)
    shown.frames.path.unlink()
    reader = PixelReader(lambda: tiny.processor.info.get_hf_processor().video_processor, torch.bfloat16)
    values = reader.read(item["pixel_values_videos"], CPU)
    assert values.isnan().all()
    assert values.dtype == torch.bfloat16
    assert values.shape == (int(item["video_grid_thw"].prod()), 3 * 2 * 16 * 16)
    assert "the frames of a video are lost" in caplog.text
