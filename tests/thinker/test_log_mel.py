"""Log-mel frames computed piece by piece equal those of the whole clip."""

from __future__ import annotations

import errno
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from antiphon_executor.interface.media import AudioClip, StoredClip
from antiphon_executor.models.thinker import mel_windows
from antiphon_executor.models.thinker.clip import Clip
from antiphon_executor.models.thinker.log_mel import PIECE_FRAMES, log_mel
from antiphon_executor.models.thinker.mel_writer import MelWriter, kept_audio_s
from antiphon_executor.reference import mel

PIECE = PIECE_FRAMES * 160


@pytest.mark.parametrize(
    "samples",
    [1, 399, 400, 401, 560, 719, 16_000, 16_159, PIECE, PIECE + 159, PIECE + 160, PIECE + 361, 3 * PIECE - 1],
)
def test_frames_are_those_of_the_reference(samples: int) -> None:
    sound = 0.1 * np.random.default_rng(samples).standard_normal(samples, dtype=np.float32)
    expected = mel.log_mel(sound)
    frames = log_mel(sound, 128)
    assert frames.shape == expected.shape
    torch.testing.assert_close(frames, expected, rtol=0, atol=1e-6)


def test_a_clip_of_one_piece_is_the_reference_to_the_bit() -> None:
    sound = np.random.default_rng(0).standard_normal(100_000, dtype=np.float32)
    assert torch.equal(log_mel(sound, 80), mel.log_mel(sound, 80))


def test_the_loudest_moment_sets_the_floor_of_all_pieces() -> None:
    sound = np.zeros(2 * PIECE, dtype=np.float32)
    sound[-16_000:] = np.random.default_rng(0).standard_normal(16_000)
    frames = log_mel(sound, 128)
    assert float(frames[:, 0].min()) == float(frames.max()) - 2.0


def test_silence_is_no_division_by_zero_and_nothing_is_no_clip() -> None:
    assert log_mel(np.zeros(4_000, dtype=np.float32), 128).isfinite().all()
    with pytest.raises(ValueError, match="without samples"):
        log_mel(np.zeros(0, dtype=np.float32), 128)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("loud_at_s", [3, 244])
def test_frames_computed_while_a_clip_is_decoded_are_those_of_the_whole(
    dtype: torch.dtype, loud_at_s: int
) -> None:
    """Given pieces of any length, and the loudest moment in the first or the last of them."""
    samples = 245 * 16_000 + 77
    sound = 0.1 * np.random.default_rng(1).standard_normal(samples, dtype=np.float32)
    sound[16_000 : 20 * 16_000] = 0
    sound[loud_at_s * 16_000 :][:4_000] *= 9
    writer, place = MelWriter(128, dtype), 0
    for length in (1, 399, 480_000, 16_000 * 150, 7, samples):
        writer.write(sound[place : place + length])
        place += length
    stored = writer.finish("key")
    assert isinstance(stored, StoredClip)
    assert stored.num_samples == samples
    clip, whole = Clip(stored), log_mel(sound, 128).to(dtype)
    for first, stop in ((0, clip.frames), (12_000, 24_000), (11_200, 12_800), (24_000, clip.frames)):
        assert torch.equal(clip.mel(128, first, stop), whole[:, first:stop])
    # A copy of every window would hold hours of audio twice while they are sent to the engine.
    assert clip.mel(128, 0, 12_000).data_ptr() == clip.mel(128, 0, 12_000).data_ptr()


def test_hours_of_frames_lie_in_a_file_and_a_full_disk_leaves_them_in_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mel_windows, "KEPT_FRAMES", 12_000)
    sound = 0.1 * np.random.default_rng(1).standard_normal(490 * 16_000, dtype=np.float32)
    sound[16_000 : 20 * 16_000] = 0
    sound[480 * 16_000 :][:4_000] *= 9
    whole, pwrite = log_mel(sound, 16).to(torch.bfloat16), os.pwrite

    def pwrite_once(file: int, data: memoryview, offset: int) -> int:
        if offset:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(file, data[:4_096], offset)

    for write in (pwrite, lambda file, data, offset: pwrite(file, data[: 1 << 20], offset), pwrite_once):
        monkeypatch.setattr(os, "pwrite", write)
        writer = MelWriter(16, torch.bfloat16, folder=tmp_path)
        writer.write(sound[: 370 * 16_000])
        part, progress = 370 * 16_000, writer.progress
        ahead = Clip(writer.clip("key", part, progress)).mel(16, 12_000, 36_000)
        assert torch.equal(ahead, log_mel(sound[:part], 16).to(torch.bfloat16)[:, 12_000:36_000])
        writer.write(sound[part:])
        clip = Clip(writer.finish("key"))
        for first, stop in ((0, 12_000), (11_200, 25_000), (36_000, clip.frames)):
            assert torch.equal(clip.mel(16, first, stop), whole[:, first:stop])
        in_memory = sum(isinstance(one, torch.Tensor) for one in writer._windows._windows)
        assert in_memory == (5 if write is pwrite_once else 1)
    assert not list(tmp_path.iterdir())
    assert open_files(tmp_path)
    del writer, clip
    for _ in range(500):
        if not open_files(tmp_path):
            return
        time.sleep(0.02)
    pytest.fail("a file is open, although nothing refers to its windows")


def test_a_disk_that_is_nearly_full_keeps_its_rest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mel_windows, "KEPT_FRAMES", 12_000)
    free = [mel_windows.LEAST_FREE_BYTES]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free[0]))
    writer = MelWriter(16, torch.bfloat16, folder=tmp_path)
    writer.write(np.zeros(250 * 16_000, np.float32))
    free[0] -= 1
    writer.write(np.zeros(240 * 16_000, np.float32))
    writer.finish("key")
    in_memory = [isinstance(one, torch.Tensor) for one in writer._windows._windows]
    assert in_memory == [True, False, True, True, True]


def open_files(folder: Path) -> list[Path]:
    """Files of `folder` that this process has open, also deleted ones."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(link.readlink())
    return [file for file in found if file.is_relative_to(folder)]


def test_a_clip_of_one_window_is_kept_as_samples() -> None:
    sound = 0.1 * np.random.default_rng(1).standard_normal(120 * 16_000 + 15_000, dtype=np.float32)
    writer = MelWriter(128, torch.float32)
    for start in range(0, len(sound), 480_000):
        writer.write(sound[start : start + 480_000])
    kept = writer.finish("key")
    assert isinstance(kept, AudioClip)
    np.testing.assert_array_equal(kept.samples, sound)


@pytest.mark.parametrize(
    ("gib", "dtype", "hours"), [(1, torch.float32, 5.83), (1, torch.bfloat16, 11.65), (0, torch.float32, 0.0)]
)
def test_the_engine_keeps_as_much_audio_as_fits_into_its_cache(
    gib: float, dtype: torch.dtype, hours: float
) -> None:
    """With `--engine.deterministic` there is no cache."""
    model: Any = SimpleNamespace(dtype=dtype, multimodal_config=SimpleNamespace(mm_processor_cache_gb=gib))
    assert kept_audio_s(model, 128) / 3_600 == pytest.approx(hours, abs=0.01)
