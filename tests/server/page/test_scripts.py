"""Scripts of the page that need no browser, in Node: code to copy, events, the audio thread, the spectrum."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from antiphon_server.page.files import FOLDER

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="the scripts run in Node")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Node takes the scripts for modules only below a package of that type."""
    folder = tmp_path_factory.mktemp("scripts")
    shutil.copytree(FOLDER, folder / "static")
    (folder / "package.json").write_text('{"type": "module"}')
    script = shutil.copy(Path(__file__).with_name("scripts.mjs"), folder)
    command = ["node", script, str(folder / "static")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def sent(made: dict[str, Any]) -> dict[str, Any]:
    """The request, with the files of the test in place of the media."""
    body: dict[str, Any] = json.loads(json.dumps(made["body"]))
    picture, recording, _ = body["messages"][-1]["content"]
    picture["image_url"]["url"] = "data:image/png;base64," + base64.b64encode(b"picture").decode()
    recording["input_audio"]["data"] = base64.b64encode(b"sound").decode()
    return body


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "1-picture.png").write_bytes(b"picture")
    (tmp_path / "2-recording.wav").write_bytes(b"sound")
    return tmp_path


def test_curl_sends_the_request_whatever_its_text_is(made: dict[str, Any], folder: Path) -> None:
    document = "cat " + made["code"]["curl"][made["code"]["curl"].index("<<") :]
    done = subprocess.run(["bash", "-c", document], cwd=folder, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == sent(made)
    assert not (folder / "ran").exists()
    assert "$ANTIPHON_API_KEY" in made["code"]["curl"]


def test_python_sends_the_request(
    made: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = made["code"]["python"]
    program = code[: code.index("\nextra = ")].replace("from openai import OpenAI", "OpenAI = dict")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ANTIPHON_API_KEY", "k")
    names: dict[str, Any] = {}
    exec(compile(program, "copied", "exec"), names)
    assert names["request"] == sent(made)
    compile(code, "copied", "exec")


def test_javascript_is_a_program(made: dict[str, Any], folder: Path) -> None:
    (folder / "copied.mjs").write_text(made["code"]["javascript"])
    subprocess.run(["node", "--check", "copied.mjs"], cwd=folder, check=True, timeout=30)


def test_the_benchmark_sends_such_requests(made: dict[str, Any]) -> None:
    from antiphon_server.bench.cli import make_parser

    words = re.sub(r"^ANTIPHON_API_KEY=\S+ ", "", made["code"]["bench"]).replace("\\\n", " ").split()
    assert words[:2] == ["antiphon", "bench"]
    given = make_parser().parse(words[2:])
    assert set(given.input) == {"image", "audio"}
    assert (given.voice, given.model) == ("heart", "nano")


def test_the_trace_of_another_puts_no_command_into_the_code(made: dict[str, Any], tmp_path: Path) -> None:
    trace = made["trace"]
    assert trace["names"] == ["1-recording.wavtouchran", "2-picture.png"]
    body = trace["body"]
    for name, part in zip(trace["names"], body["messages"][0]["content"], strict=True):
        (tmp_path / name).write_bytes(b"media")
        if "input_audio" in part:
            part["input_audio"]["data"] = base64.b64encode(b"media").decode()
        else:
            part["image_url"]["url"] = 'data:";$(touch ran);,' + base64.b64encode(b"media").decode()
    document = "cat " + trace["curl"][trace["curl"].index("<<") :]
    done = subprocess.run(["bash", "-c", document], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == body
    assert not (tmp_path / "ran").exists()
    code = trace["python"].replace("from openai import OpenAI", "OpenAI = dict")
    program = code[: code.index("\nextra = ")] + "\nimport json\nprint(json.dumps(request))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == body
    (tmp_path / "copied.mjs").write_text(trace["javascript"])
    subprocess.run(["node", "--check", "copied.mjs"], cwd=tmp_path, check=True, timeout=30)
    words = shlex.split(trace["bench"].replace("\\\n", " "))
    assert words[words.index("--model") + 1] == "a; touch ran"


def test_the_timeline_says_where_a_request_waited(made: dict[str, Any]) -> None:
    """With media, without, and with a recording that is admitted before it is decoded whole."""
    media, text, ahead = made["waits"]
    names = ("Parse", "Prompt", "Decode", "Admission", "Queue")
    assert [media[name] for name in names] == [2, 7, 100, 200, 10]
    assert "Decode" not in text
    assert [text[name] for name in ("Admission", "Queue")] == [300, 10]
    assert [ahead[name] for name in ("Decode", "Admission", "Queue")] == [100, 10, 300]


def test_a_file_that_is_no_trace_is_refused_in_a_sentence(made: dict[str, Any]) -> None:
    *refused, accepted = made["opened"]
    assert all(sentence.startswith("This file is no trace") for sentence in refused)
    assert accepted == ""


def test_a_microphone_that_is_allowed_too_late_is_closed(made: dict[str, Any]) -> None:
    assert made["closed"] == {"phase": "off", "stopped": 1}


def test_events_are_read_from_any_pieces(made: dict[str, Any]) -> None:
    assert made["sse"] == ['{"a":"ü"}', "[DONE]"]


def test_tracks_wait_for_each_other(made: dict[str, Any]) -> None:
    """The second track has 300 samples: two blocks of 128 are played, then neither track moves."""
    played = made["played"]
    assert played["starved"] == {"position": 256, "underruns": 1, "state": "waiting"}
    assert (played["position"], played["state"]) == (100_000, "ended")


def test_the_microphone_is_taken_at_24_khz(made: dict[str, Any]) -> None:
    """One second at 48 kHz."""
    assert made["recorded"] == {"pieces": 25, "sample": 8192}


def test_the_spectrum_and_the_metrics_are_right(made: dict[str, Any]) -> None:
    assert made["loudest"] == 32
    assert made["metrics"] == [7, 4, 1.5, 0]
