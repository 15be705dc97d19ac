"""A prompt is read ahead over the windows of a video whose frames and sound are there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from antiphon_executor.engine.video_read_ahead import VideoReadAhead
from antiphon_executor.engine.window_read_ahead import LEAST_WINDOWS, PromptReader
from antiphon_executor.interface.media import Media, StoredClip, StoredFrames, VideoClip
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_executor.interface.request import OmniRequest
from antiphon_executor.models.thinker.inputs import engine_prompt
from antiphon_executor.models.thinker.mel_writer import MelWriter
from antiphon_executor.models.thinker.window_length import BLOCK_FRAMES
from tests.thinker.test_clip_read_ahead import IDS, FakeEngine, noise, settle, work_in_one_thread

PROMPT = (20, 21, IDS.video, 22)
FRAMES = 160
# Of 1280 x 704 pixels: 880 tokens for the two frames of a window.
SHAPE = (FRAMES, 704, 1_280, 3)
WINDOW = 2


def ahead_of(engine: FakeEngine, folder: Path, samples: int = 0) -> VideoReadAhead:
    work_in_one_thread()
    video = VideoClip(StoredFrames(folder / "film", SHAPE), 1.0)
    reader = PromptReader(engine.generate, IDS, MediaGeometry())
    writer = MelWriter(16, torch.bfloat16, BLOCK_FRAMES)
    return VideoReadAhead(OmniRequest("one", PROMPT), "key", video, samples, writer, reader)


def windows(engine: FakeEngine) -> list[int]:
    return [len(prompt["multi_modal_data"]["video"]) for prompt in engine.prompts]


async def test_the_windows_whose_frames_are_written_are_read(tmp_path: Path) -> None:
    engine = FakeEngine()
    ahead = ahead_of(engine, tmp_path)
    ahead.frames_written(LEAST_WINDOWS * WINDOW - 1)
    await settle()
    assert not engine.prompts
    ahead.frames_written(LEAST_WINDOWS * WINDOW + WINDOW - 1)
    await settle()
    assert windows(engine) == [LEAST_WINDOWS]
    ahead.frames_written(FRAMES)
    engine.ended.set()
    await ahead.read_rest()
    assert windows(engine)[-1] == FRAMES // WINDOW - 1, "the last window is left to the request"
    assert ahead.tokens_read > 880 * windows(engine)[-1]
    await ahead.stop()


@pytest.mark.parametrize("seconds", [0, FRAMES])
async def test_what_is_read_ahead_begins_the_prompt_of_the_request_itself(
    tmp_path: Path, seconds: int
) -> None:
    """With the same keys of the same windows."""
    engine = FakeEngine()
    engine.ended.set()
    samples = seconds * 16_000
    ahead = ahead_of(engine, tmp_path, samples)
    clip = None
    if samples:
        ahead.writer.write(noise(samples / 16_000 / 120 + 0.25)[:samples])
        clip = ahead.writer.finish("key")
        assert isinstance(clip, StoredClip)
    ahead.frames_written(FRAMES)
    await settle()
    await ahead.read_rest()
    await ahead.stop()
    video = VideoClip(StoredFrames(tmp_path / "film", SHAPE), 1.0, clip)
    whole = engine_prompt(OmniRequest("one", PROMPT, Media(videos=(video,))), IDS, MediaGeometry())
    part = engine.prompts[-1]
    ids, keys = part["prompt_token_ids"], part["multi_modal_uuids"]["video"]  # type: ignore[index]
    assert len(keys) >= FRAMES // WINDOW - 6
    assert whole["prompt_token_ids"][: len(ids)] == ids
    assert whole["multi_modal_uuids"]["video"][: len(keys)] == keys  # type: ignore[index]
    ends = zip(part["multi_modal_data"]["video"], whole["multi_modal_data"]["video"], strict=False)
    for (frames, facts), (same_frames, same_facts) in ends:
        assert frames == same_frames
        assert facts["first_frame"] == same_facts["first_frame"]


async def test_no_window_is_read_before_its_sound_is_there(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.ended.set()
    ahead = ahead_of(engine, tmp_path, FRAMES * 16_000)
    ahead.frames_written(FRAMES)
    await settle()
    assert not engine.prompts
    ahead.writer.write(noise(0.5))
    await settle()
    [read] = set(windows(engine))
    assert LEAST_WINDOWS <= read <= 60 // WINDOW - 1
    await ahead.stop()


async def test_a_louder_moment_aborts_what_is_read_and_all_is_read_again_under_other_keys(
    tmp_path: Path,
) -> None:
    engine = FakeEngine()
    ahead = ahead_of(engine, tmp_path, FRAMES * 16_000)
    ahead.frames_written(FRAMES)
    ahead.writer.write(noise(0.5))
    await settle()
    ahead.writer.write(noise(0.5, level=0.9))
    await settle()
    assert engine.aborted == 1
    quiet, loud = (set(prompt["multi_modal_uuids"]["video"]) for prompt in engine.prompts)  # type: ignore[arg-type]
    assert not quiet & loud
    await ahead.stop()


def test_another_length_of_sound_is_another_video(tmp_path: Path) -> None:
    """A decoder may find a little less sound than the file states; its windows know how much there is."""
    keys = []
    for samples in (100 * 16_000, 100 * 16_000 - 400):
        writer = MelWriter(16, torch.bfloat16, BLOCK_FRAMES)
        writer.write(noise(1)[: 100 * 16_000])
        clip = writer.clip("key", samples, writer.progress)
        video = VideoClip(StoredFrames(tmp_path / "film", SHAPE), 1.0, clip)
        prompt = engine_prompt(OmniRequest("one", PROMPT, Media(videos=(video,))), IDS, MediaGeometry())
        keys.append(set(prompt["multi_modal_uuids"]["video"]))  # type: ignore[arg-type]
    assert not keys[0] & keys[1]
