"""`antiphon chat` as a process: answers, history, files, voices, the microphone, errors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from antiphon_server.client.answer import answer_of
from antiphon_server.exits import ExitCode
from tests.conformance.conftest import CERTIFICATE
from tests.conformance.conftest import KEY as TLS_KEY
from tests.server.client.command import Done, antiphon, environment, on_a_terminal, program
from tests.server.client.foreign_server import KEY, MODEL, PCM, Foreign, foreign_server

__all__ = ["subprocess"]  # These tests start processes.

pytestmark = pytest.mark.heavy


def refused(done: Done, code: ExitCode, *words: str) -> None:
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert lines[0].startswith("antiphon")
    assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("  hint: "))
    for word in words:
        assert word in done.stderr


def test_one_message_is_answered_and_the_answer_alone_is_printed(ours: str) -> None:
    done = antiphon("chat", "--url", ours, "hello there")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello there\n", "")


def test_a_dialogue_in_a_pipe_has_a_history_that_can_be_reset(foreign: Foreign) -> None:
    lines = "one\ntwo\n/reset\nthree\n/quit\nfour\n"
    done = antiphon("chat", "--url", foreign.url, "--system", "be brief", stdin=lines)
    assert (done.returncode, done.stdout) == (0, "answer 2\nanswer 4\nanswer 2\n")
    messages = foreign.seen[1][1]["messages"]
    assert [one["role"] for one in messages] == ["system", "user", "assistant", "user"]
    assert [one["content"] for one in messages] == ["be brief", "one", "answer 2", "two"]
    assert foreign.seen[0][1]["model"] == MODEL


def test_help_lists_the_commands_of_a_dialogue(foreign: Foreign) -> None:
    done = antiphon("chat", "--url", foreign.url, stdin="/help\n")
    assert all(command in done.stdout for command in ("/file", "/reset", "/help", "/quit"))
    assert foreign.seen == []


def test_files_are_parts_of_the_next_message(foreign: Foreign, tmp_path: Path) -> None:
    for name in ("a.png", "b.wav", "c.mp4"):
        (tmp_path / name).write_bytes(b"bytes of " + name.encode())
    (tmp_path / "d.txt").write_text("words", encoding="utf-8")
    flags = [word for name in ("a.png", "b.wav") for word in ("--file", str(tmp_path / name))]
    lines = f"what?\n/file {tmp_path / 'c.mp4'}\n/file {tmp_path / 'd.txt'}\nand these?\nso?\n"
    assert antiphon("chat", "--url", foreign.url, *flags, stdin=lines).returncode == 0
    first, second, third = (body["messages"][-1]["content"] for _, body in foreign.seen)
    assert [part["type"] for part in first] == ["image_url", "input_audio", "text"]
    assert first[0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert first[1]["input_audio"]["format"] == "wav"
    assert [part["type"] for part in second] == ["video_url", "text", "text"]
    assert second[1]["text"] == "d.txt:\nwords"
    assert third == "so?"


def test_our_server_answers_about_a_file(ours: str, tmp_path: Path) -> None:
    assert antiphon("sample", str(tmp_path)).returncode == 0
    flags = [word for name in ("picture.png", "question.wav") for word in ("--file", str(tmp_path / name))]
    done = antiphon("chat", "--url", ours, *flags, "what is this")
    assert (done.returncode, done.stderr) == (0, "")
    assert "what is this" in done.stdout


@pytest.mark.parametrize("player", ["ffplay", "aplay", "paplay"])
def test_a_spoken_answer_is_printed_and_played(foreign: Foreign, tmp_path: Path, player: str) -> None:
    program(tmp_path / "bin", player, f"/bin/cat > {tmp_path}/played")
    env = {"PATH": f"{tmp_path}/bin"}
    done = antiphon("chat", "--url", foreign.url, "--voice", "nova", "hello", env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "answer 1\n", "")
    assert (tmp_path / "played").read_bytes() == PCM
    body = foreign.seen[0][1]
    assert (body["modalities"], body["audio"]) == (["text", "audio"], {"voice": "nova", "format": "pcm16"})


def test_our_servers_speech_is_played(ours: str, tmp_path: Path) -> None:
    program(tmp_path / "bin", "aplay", f"/bin/cat > {tmp_path}/played")
    env = {"PATH": f"{tmp_path}/bin"}
    done = antiphon("chat", "--url", ours, "--voice", "ethan", "hello there", env=env)
    assert (done.returncode, done.stdout) == (0, "hello there\n")
    assert (tmp_path / "played").stat().st_size > 10_000


def test_a_player_that_fails_is_one_line(foreign: Foreign, tmp_path: Path) -> None:
    program(tmp_path / "bin", "aplay", "echo no device >&2; exit 1")
    env = {"PATH": f"{tmp_path}/bin"}
    done = antiphon("chat", "--url", foreign.url, "--voice", "nova", "hello", env=env)
    refused(done, ExitCode.NO_SOUND, "aplay cannot play: no device")


def test_without_a_player_a_voice_is_refused_before_anything_is_sent(
    foreign: Foreign, tmp_path: Path
) -> None:
    env = {"PATH": str(tmp_path)}
    done = antiphon("chat", "--url", foreign.url, "--voice", "nova", "hello", env=env)
    refused(done, ExitCode.NO_SOUND, "ffplay, aplay, paplay")
    assert foreign.seen == []


def test_without_a_microphone_it_is_refused_in_one_line(foreign: Foreign) -> None:
    done = antiphon("chat", "--url", foreign.url, "--mic")
    refused(done, ExitCode.NO_SOUND, "no microphone")


def test_what_the_microphone_hears_is_sent_as_a_recording(foreign: Foreign, tmp_path: Path) -> None:
    recorder = program(
        tmp_path / "bin", "ffmpeg", 'head -c 3200 /dev/zero; echo "$@" > "$0.args"; exec sleep 20'
    )
    env = {"ANTIPHON_FFMPEG": str(recorder), "PULSE_SERVER": "unix:/nowhere"}
    command = [*antiphon("chat", "--help").args[:3], "chat", "--url", foreign.url, "--mic"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(**env)
    ) as dialogue:
        assert dialogue.stdin is not None
        assert dialogue.stdout is not None
        dialogue.stdin.write("\n")
        dialogue.stdin.flush()
        while not Path(f"{recorder}.args").exists():
            assert dialogue.poll() is None
        dialogue.stdin.write("\n")
        dialogue.stdin.close()
        assert dialogue.stdout.read() == "answer 1\n"
    [part] = foreign.seen[0][1]["messages"][-1]["content"]
    assert part["type"] == "input_audio"
    assert part["input_audio"]["data"].startswith("UklGR")
    assert "-f pulse -i default" in Path(f"{recorder}.args").read_text(encoding="utf-8")


def test_on_a_terminal_an_error_is_shown_and_the_dialogue_goes_on(foreign: Foreign) -> None:
    code, shown = on_a_terminal("chat", "--url", foreign.url, typed="bad\ngood\n/quit\n")
    assert code == 0, shown
    assert "antiphon: the server answers 400: that is bad" in shown
    assert "answer 1" in shown
    assert f"{MODEL}: /help" in shown


def test_a_servers_words_cannot_drive_the_terminal(foreign: Foreign) -> None:
    """One sequence would set the clipboard, the others would clear the screen."""
    foreign.says, foreign.models = "\x1b]52;c;eA==\x07sent\x9b2J", ["\x1b[2Jmodel"]
    code, shown = on_a_terminal("chat", "--url", foreign.url, typed="hello\n/quit\n")
    assert code == 0, shown
    assert "]52;c;eA==sent2J 1" in shown
    assert "[2Jmodel: /help" in shown
    assert not any(sequence in shown for sequence in ("\x1b]52", "\x1b[2J", "\x9b"))
    done = antiphon("chat", "--url", foreign.url, "hello")
    assert done.stdout == f"{foreign.says} 1\n"
    foreign.models = ["\x1b[2Jone", "two"]
    refused(antiphon("chat", "--url", foreign.url, "hello"), ExitCode.USAGE, "--model: [2Jone, two")


def test_a_whole_answer_that_is_no_text_is_no_fault() -> None:
    class Whole:
        def events(self, path: str, body: dict[str, Any]) -> list[str]:
            return [json.dumps({"choices": [{"message": {"content": [{"type": "text", "text": "x"}]}}]})]

    [piece] = answer_of(Whole(), {})  # type: ignore[arg-type]
    assert (piece.text, piece.finished) == ("", True)


def test_a_server_that_is_away_is_one_line() -> None:
    done = antiphon("chat", "--url", "http://127.0.0.1:9/v1", "hello")
    refused(done, ExitCode.SERVER_AWAY, "no server answers at http://127.0.0.1:9/v1", "antiphon serve")


def test_a_certificate_of_ones_own_is_named_by_a_variable() -> None:
    with foreign_server(CERTIFICATE, TLS_KEY) as foreign:
        done = antiphon("chat", "--url", foreign.url, "hello")
        refused(done, ExitCode.SERVER_AWAY, "the certificate of https://127.0.0.1:", "SSL_CERT_FILE")
        done = antiphon("chat", "--url", foreign.url, "hello", env={"SSL_CERT_FILE": str(CERTIFICATE)})
        assert (done.returncode, done.stdout) == (0, "answer 1\n"), done.stderr


def test_a_refused_request_shows_the_servers_words(foreign: Foreign, ours: str) -> None:
    refused(antiphon("chat", "--url", foreign.url, "bad"), ExitCode.REFUSED, "400: that is bad")
    done = antiphon("chat", "--url", ours, "--model", "other", "hello")
    refused(done, ExitCode.REFUSED, "404: the model 'other' is not served", "hint")


def test_an_answer_that_breaks_off_is_an_error(foreign: Foreign) -> None:
    foreign.breaks_off = True
    done = antiphon("chat", "--url", foreign.url, "hello")
    refused(done, ExitCode.SERVER_AWAY, "broke off")
    assert done.stdout.startswith("answer 1")


def test_the_key_comes_from_a_flag_a_file_or_openais_variable(foreign: Foreign, tmp_path: Path) -> None:
    foreign.needs_key = True
    refused(
        antiphon("chat", "--url", foreign.url, "hello"), ExitCode.NO_ACCESS, "wrong key", "OPENAI_API_KEY"
    )
    (tmp_path / "key").write_text(f"{KEY}\n", encoding="utf-8")
    for flags in (["--api-key", KEY], ["--api-key-file", str(tmp_path / "key")]):
        assert antiphon("chat", "--url", foreign.url, *flags, "hello").returncode == 0
    env = {"OPENAI_BASE_URL": foreign.url, "OPENAI_API_KEY": KEY}
    done = antiphon("chat", "hello", env=env)
    assert (done.returncode, done.stdout) == (0, "answer 1\n")


def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(foreign: Foreign) -> None:
    foreign.needs_key = True
    done = antiphon("chat", "--url", foreign.url, "hello", env={"OPENAI_API_KEY": f"{KEY}\r\n"})
    assert done.returncode == 0, done.stderr
    for key in ("sk-sec\nret", "sk-secr\u00e9t"):
        done = antiphon("chat", "--url", foreign.url, "hello", env={"OPENAI_API_KEY": key})
        refused(done, ExitCode.USAGE, "the API key has characters that no key has")
        assert "sk-" not in done.stderr


def test_several_models_need_a_name(foreign: Foreign) -> None:
    foreign.models = ["one", "two"]
    refused(antiphon("chat", "--url", foreign.url, "hello"), ExitCode.USAGE, "--model", "one, two")
    assert antiphon("chat", "--url", foreign.url, "--model", "two", "hello").returncode == 0
    assert json.dumps(foreign.seen[0][1]).count('"two"') == 1


def test_a_wrong_url_or_file_is_a_usage_error(foreign: Foreign, tmp_path: Path) -> None:
    for url in ("ftp://x", "http://[::1", "http://x:99999"):
        refused(antiphon("chat", "--url", url, "hello"), ExitCode.USAGE, url)
    refused(
        antiphon("chat", "--url", foreign.url, "--file", "/none.png", "hello"), ExitCode.USAGE, "/none.png"
    )
    (tmp_path / "a.xyz").write_bytes(b"")
    done = antiphon("chat", "--url", foreign.url, "--file", str(tmp_path / "a.xyz"), "hello")
    refused(done, ExitCode.USAGE, "no known type", ".png")
