"""`antiphon transcribe` as a process: formats, several files, progress, errors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from antiphon_server.exits import ExitCode
from tests.server.client.command import antiphon, on_a_terminal
from tests.server.client.foreign_server import SRT, Foreign
from tests.server.client.test_chat_command import refused

__all__ = ["subprocess"]  # These tests start processes.

pytestmark = pytest.mark.heavy


@pytest.fixture
def recordings(tmp_path: Path) -> list[str]:
    (tmp_path / "in").mkdir()
    files = [tmp_path / "in" / name for name in ("a.wav", "b.mp3", "b.wav")]
    for file in files:
        file.write_bytes(b"sound" * 1000)
    return [str(file) for file in files]


@pytest.mark.parametrize("form", ["text", "srt", "vtt", "json", "verbose_json"])
def test_our_server_writes_every_format(ours: str, tmp_path: Path, form: str) -> None:
    assert antiphon("sample", str(tmp_path)).returncode == 0
    done = antiphon("transcribe", str(tmp_path / "question.wav"), "--format", form, "--url", ours)
    assert (done.returncode, done.stderr) == (0, "")
    if "json" in form:
        assert json.loads(done.stdout)["text"]
    else:
        marks = {"srt": "00:00:00,", "vtt": "WEBVTT", "text": ""}
        assert marks[form] in done.stdout
    assert done.stdout.strip()


def test_each_file_has_its_transcript_in_the_folder(
    foreign: Foreign, recordings: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    flags = ("--format", "srt", "-o", str(out), "--language", "en", "--url", foreign.url)
    done = antiphon("transcribe", *recordings, *flags)
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in out.iterdir()) == ["a.srt", "b.mp3.srt", "b.wav.srt"]
    assert {file.read_text(encoding="utf-8") for file in out.iterdir()} == {SRT}
    assert done.stdout.splitlines() == [str(out / name) for name in ("a.srt", "b.mp3.srt", "b.wav.srt")]
    assert b'name="language"\r\n\r\nen\r\n' in foreign.seen[0][1]


def test_recordings_of_one_name_have_a_transcript_each(
    foreign: Foreign, recordings: list[str], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "a.wav"
    other.write_bytes(b"sound")
    out = tmp_path / "out"
    done = antiphon("transcribe", recordings[0], str(other), "-o", str(out), "--url", foreign.url)
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in out.iterdir()) == ["a.wav-2.txt", "a.wav.txt"]


def test_transcripts_go_to_standard_output(foreign: Foreign, recordings: list[str]) -> None:
    one = antiphon("transcribe", recordings[0], "--url", foreign.url)
    assert (one.returncode, one.stdout, one.stderr) == (0, "hello there\n", "")
    two = antiphon("transcribe", *recordings[:2], "--url", foreign.url)
    assert two.stdout == "".join(f"{name}:\nhello there\n" for name in recordings[:2])


def test_a_file_that_is_refused_does_not_keep_the_others(foreign: Foreign, recordings: list[str]) -> None:
    Path(recordings[0]).write_bytes(b"unreadable")
    done = antiphon("transcribe", *recordings[:2], "--url", foreign.url)
    refused(done, ExitCode.REFUSED, f"{recordings[0]}: the server answers 400: this is no recording")
    assert done.stdout == f"{recordings[1]}:\nhello there\n"


def test_a_missing_file_is_found_before_anything_is_sent(foreign: Foreign, recordings: list[str]) -> None:
    done = antiphon("transcribe", recordings[0], "/none.wav", "--url", foreign.url)
    refused(done, ExitCode.USAGE, "/none.wav cannot be read")
    assert foreign.seen == []


def test_a_server_that_is_away_ends_it(recordings: list[str]) -> None:
    done = antiphon("transcribe", *recordings, "--url", "http://127.0.0.1:9")
    refused(done, ExitCode.SERVER_AWAY, "no server answers")


def test_a_terminal_shows_which_file_it_is_at(foreign: Foreign, recordings: list[str]) -> None:
    code, shown = on_a_terminal("transcribe", *recordings, "--url", foreign.url)
    assert code == 0, shown
    assert "b.mp3 (2 of 3)" in shown
