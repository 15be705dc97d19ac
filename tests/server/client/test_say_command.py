"""`antiphon say` as a process: files of every format, long texts, players, errors."""

from __future__ import annotations

import gzip
import subprocess
import wave
from pathlib import Path

import pytest

from antiphon_server.client.formats import SPEECH_FORMATS
from antiphon_server.client.speech_pieces import pieces_of
from antiphon_server.exits import ExitCode
from tests.server.client.command import antiphon, on_a_terminal, program
from tests.server.client.foreign_server import PCM, Foreign
from tests.server.client.test_chat_command import refused

__all__ = ["subprocess"]  # These tests start processes.

pytestmark = pytest.mark.heavy


def test_our_server_writes_a_wav_file_with_its_real_length(ours: str, tmp_path: Path) -> None:
    file = tmp_path / "x.wav"
    done = antiphon("say", "hello there", "-o", str(file), "--url", ours, "--voice", "ethan")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{file}\n", "")
    with wave.open(str(file)) as speech:
        assert speech.getframerate() == 24_000
        assert file.stat().st_size == 44 + 2 * speech.getnframes()
        assert speech.getnframes() > 5_000
    assert [one.name for one in tmp_path.iterdir()] == ["x.wav"]


@pytest.mark.parametrize("suffix", SPEECH_FORMATS)
def test_the_suffix_says_the_format(foreign: Foreign, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"x{suffix}"
    assert antiphon("say", "hello", "-o", str(file), "--url", foreign.url).returncode == 0
    body = foreign.seen[0][1]
    assert body == {"model": "tiny-model", "input": "hello", "response_format": SPEECH_FORMATS[suffix]}
    assert file.read_bytes()


def test_no_other_file_is_overwritten(foreign: Foreign, tmp_path: Path) -> None:
    """A file of the user could have the name of a file that is still written."""
    (tmp_path / "x.mp3.part").write_text("mine")
    assert antiphon("say", "hello", "-o", str(tmp_path / "x.mp3"), "--url", foreign.url).returncode == 0
    assert (tmp_path / "x.mp3.part").read_text() == "mine"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["x.mp3", "x.mp3.part"]


def test_a_text_comes_from_standard_input_or_a_file(foreign: Foreign, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("from a file\n", encoding="utf-8")
    out = ("-o", str(tmp_path / "x.mp3"), "--url", foreign.url)
    assert antiphon("say", "-", *out, stdin="from a pipe").returncode == 0
    assert antiphon("say", "--file", str(tmp_path / "text"), *out).returncode == 0
    assert [body["input"] for _, body in foreign.seen] == ["from a pipe", "from a file"]


def test_a_long_text_is_read_in_pieces_of_one_file(foreign: Foreign, tmp_path: Path) -> None:
    text = "\n\n".join(f"Sentence number {number}. " * 60 for number in range(5))
    file = tmp_path / "x.wav"
    assert antiphon("say", "-", "-o", str(file), "--url", foreign.url, stdin=text).returncode == 0
    inputs = [body["input"] for _, body in foreign.seen]
    assert len(inputs) > 1
    assert max(map(len, inputs)) <= 4_096
    assert "".join(inputs).split() == "".join(pieces_of(text)).split()
    with wave.open(str(file)) as speech:
        assert speech.readframes(speech.getnframes()) == PCM * len(inputs)


@pytest.mark.parametrize("text", ["a" * 100, "word " * 40, "One. " * 30 + "\n\n" + "Two. " * 30])
def test_pieces_are_bounded_and_lose_nothing(text: str) -> None:
    pieces = pieces_of(text, 60)
    assert max(map(len, pieces)) <= 60
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_without_a_file_it_is_played(foreign: Foreign, tmp_path: Path) -> None:
    program(tmp_path / "bin", "paplay", f"/bin/cat > {tmp_path}/played")
    done = antiphon("say", "hello", "--url", foreign.url, env={"PATH": f"{tmp_path}/bin"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "played").read_bytes() == PCM
    done = antiphon("say", "hello", "--url", foreign.url, env={"PATH": str(tmp_path)})
    refused(done, ExitCode.NO_SOUND, "ffplay, aplay, paplay")


def test_a_voice_is_sent_where_openais_own_models_want_one(foreign: Foreign, tmp_path: Path) -> None:
    foreign.models = ["gpt-5", "tts-1"]
    assert antiphon("say", "hi", "-o", str(tmp_path / "x.mp3"), "--url", foreign.url).returncode == 0
    assert (foreign.seen[0][1]["model"], foreign.seen[0][1]["voice"]) == ("tts-1", "alloy")


def test_an_answer_that_is_refused_leaves_no_file(ours: str, tmp_path: Path) -> None:
    file = tmp_path / "x.wav"
    done = antiphon("say", "hello", "-o", str(file), "--url", ours, "--voice", "unknown")
    refused(done, ExitCode.REFUSED, "Unknown voice")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_audio_is_not_written(foreign: Foreign, tmp_path: Path) -> None:
    foreign.speech = ({"media_type": "text/html; charset=utf-8"}, b"<html>busy</html>")
    done = antiphon("say", "hello", "-o", str(tmp_path / "x.mp3"), "--url", foreign.url)
    refused(done, ExitCode.REFUSED, "the server's answer is no audio: it is text/html")
    assert list(tmp_path.iterdir()) == []


def test_compressed_audio_is_unpacked(foreign: Foreign, tmp_path: Path) -> None:
    foreign.speech = ({"media_type": "audio/mpeg", "encoding": "gzip"}, gzip.compress(b"encoded" * 100))
    file = tmp_path / "x.mp3"
    assert antiphon("say", "hello", "-o", str(file), "--url", foreign.url).returncode == 0
    assert file.read_bytes() == b"encoded" * 100


def test_usage_errors_are_one_line(foreign: Foreign, tmp_path: Path) -> None:
    refused(antiphon("say", "hello", "-o", "x.doc", "--url", foreign.url), ExitCode.USAGE, ".wav")
    refused(antiphon("say", "--url", foreign.url), ExitCode.USAGE, "TEXT or --file")
    refused(antiphon("say", " ", "-o", "x.wav", "--url", foreign.url), ExitCode.USAGE, "empty")
    done = antiphon("say", "x", "-o", "/none/x.wav", "--url", foreign.url)
    refused(done, ExitCode.FAULT, "/none/x.wav cannot be written")


def test_a_terminal_shows_progress(foreign: Foreign, tmp_path: Path) -> None:
    file = str(tmp_path / "x.wav")
    code, shown = on_a_terminal("say", "hello", "-o", file, "--url", foreign.url)
    assert code == 0, shown
    assert "MiB of speech" in shown
