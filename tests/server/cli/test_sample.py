"""`antiphon sample`: files that the server's own decoders read, and nothing half-written."""

from __future__ import annotations

import itertools
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from antiphon_server.cli.main import main
from antiphon_server.cli.sample import NAMES
from antiphon_server.exits import ExitCode
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.policy import MediaPolicy
from tests.server.media.media_samples import part, pixels_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("samples") / "new"
    assert main(["sample", str(place)]) == 0
    return place


def test_it_writes_the_three_files_and_prints_their_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(tmp_path)]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in NAMES]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(NAMES)
    assert main(["sample", str(tmp_path)]) == 0


def test_the_picture_shows_a_red_circle_on_white(folder: Path) -> None:
    with Image.open(folder / "picture.png") as image:
        assert (image.getpixel((95, 95)), image.getpixel((5, 5))) == ((255, 0, 0), (255, 255, 255))


def test_the_recording_is_a_second_of_speech_under_100_kb(folder: Path) -> None:
    file = folder / "question.wav"
    assert file.stat().st_size < 100_000
    with wave.open(str(file)) as recording:
        samples = np.frombuffer(recording.readframes(recording.getnframes()), np.int16)
        assert 0.8 < recording.getnframes() / recording.getframerate() < 2
    assert np.abs(samples).max() > 5_000


def test_without_ffmpeg_it_ends_with_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANTIPHON_FFMPEG", str(tmp_path / "none"))
    assert main(["sample", str(tmp_path)]) == ExitCode.NO_FFMPEG
    assert "ffmpeg was not found" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "/dev/null/no"]) == ExitCode.FAULT
    assert len(capsys.readouterr().err.splitlines()) == 1


async def test_the_server_decodes_the_clip_in_which_a_blue_square_moves_right(folder: Path) -> None:
    loader = MediaLoader(MediaPolicy())
    await loader.start()
    try:
        (clip,) = (await loader.load([part("video", (folder / "clip.mp4").read_bytes())])).videos
        frames = pixels_of(clip)
    finally:
        await loader.close()
    assert (len(frames), clip.frames_per_second, clip.audio) == (6, 2.0, None)
    blue = (frames[..., 2] > 180) & (frames[..., 0] < 90)
    centres = [np.nonzero(frame)[1].mean() for frame in blue]
    assert all(later > earlier + 10 for earlier, later in itertools.pairwise(centres))
