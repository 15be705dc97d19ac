"""README's examples, run in their order in an empty folder, against the embedded model.

ANTIPHON_README_URL runs them against a server that is already up.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.server_process import RunningServer
from tests.project.sources import ROOT

pytestmark = pytest.mark.engine

README = (ROOT / "README.md").read_text()
DEFAULT_URL = "http://127.0.0.1:8000"
INSTALLED = ".venv/bin/"


def blocks(*languages: str) -> list[tuple[str, str]]:
    """Language and text of each block in one of `languages`, in the order of the page."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [(language, text) for language, text in found if language in languages]


@pytest.fixture(scope="module")
def url(request: pytest.FixtureRequest) -> str:
    if given := os.environ.get("ANTIPHON_README_URL"):
        return given
    server: RunningServer = request.getfixturevalue("nano_server")
    return server.url


def run_shell(block: str) -> str:
    done = subprocess.run(["bash", "-ec", block], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_blocks_run_in_order_and_save_speech(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three changes: the server's address, the folder of `antiphon`, and fewer requests of the benchmark."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
    programs = f"{Path(sys.executable).parent}/"
    namespace: dict[str, object] = {}
    printed: list[str] = []
    for language, text in blocks("bash", "python"):
        block = text.replace(DEFAULT_URL, url).replace(INSTALLED, programs)
        if language == "bash":
            printed.append(run_shell(block.replace("--requests 24", "--requests 2")))
        else:
            exec(compile(block, "README.md", "exec"), namespace)
            printed.append(capsys.readouterr().out)

    curl, sample, text, speech, video, commands, bench = printed
    assert json.loads(curl)["choices"][0]["message"]["content"] == "Seven plus five is twelve."
    assert sample.split() == ["picture.png", "question.wav", "clip.mp4"]
    assert "Seven plus five is twelve." in text
    assert "I see a red circle." in speech
    assert "The blue square is moving right." in video
    for words in ("Seven plus five is twelve.", "I see a red circle.", "morning.wav", "00:00:0"):
        assert words in commands
    assert len(json.loads(Path("run.json").read_text())["levels"]) == 3, bench
    assert Path("run.svg").read_text().startswith("<svg")
    for file in ("answer.wav", "morning.wav"):
        with wave.open(file) as speech_file:
            samples = np.frombuffer(speech_file.readframes(speech_file.getnframes()), np.int16)
        assert len(samples) > 1_000
        assert np.abs(samples).max() > 0
