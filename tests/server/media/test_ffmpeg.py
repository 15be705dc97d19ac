"""ffmpeg is found where the docs say, and its command lines leave it no choice."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from antiphon_server.media.ffmpeg import (
    FfmpegMissing,
    FramePlan,
    find_ffmpeg,
    first_frame_argv,
    frames_argv,
    packets_argv,
    sound_argv,
    synced_sound_argv,
)
from antiphon_server.media.job import Fit
from antiphon_server.media.picture_worker import fitted
from antiphon_server.media.sniff import Container, sniff
from tests.server.media.making import ffmpeg, picture

MP4 = sniff(b"\0\0\0\x20ftypisom" + bytes(8))
FIT = Fit(0, 600_000, 32, 2)


def test_the_variable_names_the_binary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    binary = tmp_path / "ours"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o700)
    monkeypatch.setenv("ANTIPHON_FFMPEG", str(binary))
    assert find_ffmpeg() == binary


def test_the_path_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    binary = tmp_path / "ffmpeg"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o700)
    monkeypatch.delenv("ANTIPHON_FFMPEG", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_ffmpeg() == binary


def test_the_wheel_is_the_last_resort(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ANTIPHON_FFMPEG", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "imageio_ffmpeg" in find_ffmpeg().parts


def test_without_any_the_operator_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_FFMPEG", "/nowhere/ffmpeg")
    with pytest.raises(FfmpegMissing, match="apt install ffmpeg"):
        find_ffmpeg()


def command_lines(container: Container) -> list[tuple[str, ...]]:
    plan = FramePlan(Fraction(0), Fraction(2), 6, 64, 96)
    return [
        sound_argv(container, 1.0),
        synced_sound_argv(container, Fraction(1, 3), 1.0),
        packets_argv(container, ("V:0", "a:0?")),
        first_frame_argv(container, 1_000, FIT),
        frames_argv(container, 1_000, plan),
    ]


def test_every_command_forces_the_demuxer_and_the_decoders() -> None:
    assert MP4 is not None
    for argv in command_lines(MP4):
        before_input = argv[: argv.index("-i")]
        for option, value in (("-f", "mov"), ("-protocol_whitelist", "file"), ("-enable_drefs", "0")):
            assert before_input[before_input.index(option) + 1] == value
        assert before_input[before_input.index("-codec_whitelist") + 1].startswith("h264,hevc,")
        assert argv[argv.index("-i") + 1] == "file:/proc/self/fd/0"
        assert [word for word in argv if word.startswith(("pipe:", "file:"))] == [
            "file:/proc/self/fd/0",
            "pipe:3",
        ]


@pytest.mark.parametrize("size", [(1_080, 1_920), (16, 8), (3_000, 40), (65, 33)])
@pytest.mark.parametrize("fit", [FIT, Fit(90_000, 100_000, 32, 2), Fit(0, 2_000, 32, 1)])
def test_ffmpeg_and_pillow_scale_to_the_same_size(size: tuple[int, int], fit: Fit) -> None:
    """The scale filter's expression and `fitted` are one rule, written twice."""
    assert MP4 is not None
    argv = first_frame_argv(MP4, 10_000_000, fit)
    scale = argv[argv.index("-vf") + 1]
    image = picture(Image.new("RGB", size), "PNG")
    ppm = ffmpeg("-i", "in.png", "-vf", scale, suffix="ppm", files={"in.png": image})
    assert tuple(int(word) for word in ppm.split(maxsplit=3)[1:3]) == fitted(size, fit)
