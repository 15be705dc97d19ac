"""README's own code, run as it stands: its curl line and its Python, against the echo engine's server.

ANTIPHON_README_URL runs it against a server that is up already.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from antiphon_server.media.ffmpeg import find_ffmpeg
from tests.project.sources import ROOT
from tests.tiny_checkpoint import write_tiny_checkpoint

README = (ROOT / "README.md").read_text()
DEFAULT_URL = "http://127.0.0.1:8000"
MODEL = "tiny-qwen3-omni"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if given := os.environ.get("ANTIPHON_README_URL"):
        yield given
        return
    folder = tmp_path_factory.mktemp("readme")
    checkpoint = write_tiny_checkpoint(folder / MODEL)
    command = [sys.executable, "-m", "tests.server.echo_server", str(checkpoint), "--port", "0"]
    with (folder / "log").open("w+") as log:
        server = subprocess.Popen(
            [*command, "--served-model-name", MODEL], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield _address(server, folder / "log")
        finally:
            server.terminate()
            server.wait(timeout=20)


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    """The API's address, read off the banner."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        if found := re.search(r"(http://127\.0\.0\.1:\d+)/v1", log.read_text()):
            with urllib.request.urlopen(f"{found[1]}/readyz", timeout=5):
                return found[1]
        time.sleep(0.1)
    pytest.fail(f"the echo server did not start: {log.read_text()}")


@pytest.fixture
def media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The three recordings that the README speaks of, in the working folder."""
    monkeypatch.chdir(tmp_path)
    inputs = {
        "question.wav": ["-f", "lavfi", "-i", "sine=frequency=220:duration=1"],
        "picture.png": ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=1", "-frames:v", "1"],
        "clip.mp4": ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=4:duration=1", "-pix_fmt", "yuv420p"],
    }
    for name, arguments in inputs.items():
        subprocess.run([find_ffmpeg(), "-v", "error", *arguments, name], check=True, stdin=subprocess.DEVNULL)
    return tmp_path


def test_the_curl_line_gets_an_answer(url: str) -> None:
    (block,) = [block for block in blocks("bash") if block.startswith("curl")]
    script = block.replace(DEFAULT_URL, url)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout)["choices"][0]["message"]["role"] == "assistant"


def test_the_python_runs_in_order_and_saves_speech(
    url: str, media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, object] = {}
    code = blocks("python")
    assert len(code) >= 2
    for block in code:
        exec(compile(block.replace(DEFAULT_URL, url), "README.md", "exec"), namespace)

    assert capsys.readouterr().out.strip()
    with wave.open(str(media / "answer.wav")) as speech:
        samples = np.frombuffer(speech.readframes(speech.getnframes()), np.int16)
    assert len(samples) > 1_000
    assert np.abs(samples).max() > 0


def test_files_that_the_readme_names_exist() -> None:
    for name in re.findall(r"\]\(([\w./-]+)\)", README) + re.findall(
        r"`((?:deploy|tests)/[\w./-]+)`", README
    ):
        assert (ROOT / name).exists(), name


def test_make_targets_that_the_readme_names_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets
