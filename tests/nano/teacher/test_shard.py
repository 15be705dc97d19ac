"""Shards: they are read as written, and incomplete ones are ignored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from antiphon_nano.speech.recordings import CODES, Recordings, step_rng
from antiphon_nano.teacher import shard
from antiphon_nano.teacher.shard import FRAME_SAMPLES, Utterance


def utterance(number: int, first_frame: int, frames: int) -> Utterance:
    return Utterance(f"Number {number}.", "heart", first_frame, frames, [1, 2], [5] * frames)


def write(path: Path) -> list[np.ndarray]:
    sounds = [np.full(frames * FRAME_SAMPLES, level, np.float32) for frames, level in ((3, 0.5), (5, -0.25))]
    shard.write(path, [utterance(0, 0, 3), utterance(1, 3, 5)], sounds)
    np.save(path.with_suffix(CODES), np.arange(8 * 8, dtype=np.int16).reshape(8, 8))
    return sounds


def test_sound_and_record_come_back(tmp_path: Path) -> None:
    sounds = write(tmp_path / "train-000")
    read = shard.read(tmp_path / "train-000")
    assert read.utterances == [utterance(0, 0, 3), utterance(1, 3, 5)]
    for sound, known in zip(sounds, read.utterances, strict=True):
        np.testing.assert_allclose(read.sound(known), sound, atol=1e-4)


def test_a_shard_without_its_record_is_ignored(tmp_path: Path) -> None:
    write(tmp_path / "train-000")
    write(tmp_path / "train-001")
    (tmp_path / "train-001.json").unlink()
    (tmp_path / "train-000.heard.json").write_text("[]")
    assert shard.all_of(tmp_path) == [tmp_path / "train-000"]


def test_an_utterance_has_its_own_codes(tmp_path: Path) -> None:
    write(tmp_path / "train-000")
    recordings = Recordings(tmp_path)
    assert len(recordings) == 2
    assert recordings.codes(1).tolist() == np.arange(24, 64).reshape(5, 8).tolist()


def test_a_step_always_draws_the_same_pieces(tmp_path: Path) -> None:
    write(tmp_path / "train-000")
    recordings = Recordings(tmp_path)
    first, again, other = (recordings.pieces(step_rng(0, step), 4, 5000) for step in (7, 7, 8))
    assert first.equal(again)
    assert not first.equal(other)


def test_a_folder_without_speech_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no speech of kind 'train'"):
        Recordings(tmp_path)
