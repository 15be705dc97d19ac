"""The evaluation's client against the real server with the echo engine."""

from __future__ import annotations

import contextlib
import random
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon_nano.served.evaluation import Evaluation
from antiphon_nano.served.examinee import Examinee
from antiphon_nano.teacher import shard
from antiphon_nano.thinker.dialogue import Dialogue, Turn
from antiphon_nano.thinker.exams import exams
from antiphon_nano.thinker.seeing import pictures
from tests.project.sources import ROOT

OTHER = "aiden"
"""A voice of the echo engine."""


@pytest.fixture(scope="module")
def url(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("echo") / "log"
    command = [sys.executable, "-m", "tests.server.echo_server", str(exported), "--port", "0"]
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield _address(server, log)
    finally:
        server.terminate()
        server.wait(timeout=20)


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        if found := re.search(r"(http://127\.0\.0\.1:\d+)/v1", log.read_text()):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{found[1]}/readyz", timeout=5):
                return found[1]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


async def test_answers_have_the_order_of_the_questions(url: str) -> None:
    questions = [Dialogue((Turn((f"number {number}",), ""),), "echo") for number in range(9)]
    given = await Examinee(url).written(questions)
    assert len(set(given)) == len(given)
    assert all(str(number) in text for number, text in enumerate(given))


async def test_speech_is_received_to_its_end(url: str) -> None:
    scene = pictures.scene(random.Random(1))
    shown = Dialogue((Turn((pictures.show(scene, random.Random(1)), "What is it?"), ""),), "echo")
    (spoken,) = await Examinee(url).spoken([shown], OTHER)
    assert spoken.text
    assert spoken.seconds > 0.1
    assert spoken.finish in ("stop", "length")


async def test_an_evaluation_writes_figures_and_speech_for_the_judge(url: str, tmp_path: Path) -> None:
    evaluation = Evaluation(tmp_path, Examinee(url))
    await evaluation.take_exam(exams.typed()[0], 3)
    await evaluation.speak(exams.typed(), 4, runaway_check=14, other_voice=OTHER)
    report = (tmp_path / "report.json").read_text()
    assert '"served arithmetic"' in report
    assert '"served runaways"' in report
    assert '"answers": 14' in report
    for name, texts in (("answers", 4), ("read", 4), ("unseen", 1), ("closed", 2), (OTHER, 2)):
        assert len(shard.read(tmp_path / "judged" / f"served-{name}").utterances) == texts
