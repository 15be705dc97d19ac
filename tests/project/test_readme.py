"""README's own code, run as it stands: its curl line and its Python, against the model that comes with it.

ANTIPHON_README_URL runs it against a server that is up already.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from antiphon_executor.shipped import ANTIPHON_NANO
from antiphon_server.cli.sample import write_samples
from tests.e2e.server_process import start_server
from tests.project.sources import ROOT

README = (ROOT / "README.md").read_text()
DEFAULT_URL = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if given := os.environ.get("ANTIPHON_README_URL"):
        yield given
        return
    flags = ("--served-model-name", "antiphon-nano", "--dtype", "auto")
    server = start_server(ANTIPHON_NANO, tmp_path_factory.mktemp("readme") / "log", *flags)
    yield server.url
    server.end()


@pytest.fixture
def media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the files that `antiphon sample` writes."""
    monkeypatch.chdir(tmp_path)
    write_samples(tmp_path)
    return tmp_path


@pytest.mark.engine
def test_the_curl_line_gets_an_answer(url: str) -> None:
    (block,) = [block for block in blocks("bash") if block.startswith("curl")]
    script = block.replace(DEFAULT_URL, url)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout)["choices"][0]["message"]["content"] == "Seven plus five is twelve."


@pytest.mark.engine
def test_the_python_runs_in_order_and_saves_speech(
    url: str, media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, object] = {}
    code = blocks("python")
    assert len(code) >= 2
    for block in code:
        exec(compile(block.replace(DEFAULT_URL, url), "README.md", "exec"), namespace)

    said = capsys.readouterr().out
    for answer in ("Seven plus five is twelve.", "I see a red circle.", "The blue square is moving right."):
        assert answer in said
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
