"""ffmpeg is found in the documented places."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon_server.media.ffmpeg import FfmpegMissing, find_ffmpeg


def test_the_variable_names_the_binary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    binary = tmp_path / "ours"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o700)
    monkeypatch.setenv("ANTIPHON_FFMPEG", str(binary))
    assert find_ffmpeg() == binary


def test_the_path_is_searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


def test_without_ffmpeg_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_FFMPEG", "/nowhere/ffmpeg")
    with pytest.raises(FfmpegMissing, match="apt install ffmpeg"):
        find_ffmpeg()
