"""Word errors by a judge of the user, which gets the received audio after the measurement."""

from __future__ import annotations

import asyncio
import sys
import wave
from pathlib import Path

import pytest

from antiphon_server.bench.asr_judge import CommandJudge, measure_word_errors, open_judge
from antiphon_server.bench.load.client import SpokenAnswer
from antiphon_server.bench.options import JudgeOptions, Options, Workload
from antiphon_server.bench.report.table import as_text
from antiphon_server.bench.run import measure
from tests.server.bench.raw_server import pcm, raw_server, spoken

ANSWERS = [
    SpokenAnswer("one two three four", pcm(0.5), 24_000),
    SpokenAnswer("one two three five", pcm(0.5), 24_000),
]


def script(tmp_path: Path, body: str) -> tuple[str, ...]:
    path = tmp_path / "judge.py"
    path.write_text(f"import sys, wave\nsound = wave.open(sys.argv[1])\n{body}\n", encoding="utf-8")
    return (sys.executable, str(path))


def test_errors_are_counted_over_all_words(tmp_path: Path) -> None:
    judge = CommandJudge(script(tmp_path, "print('One, two, three: four.')"))
    found = measure_word_errors(judge, ANSWERS)
    assert (found.answers, found.words, found.errors, found.failed) == (2, 8, 1, 0)


def test_the_judge_gets_the_whole_audio(tmp_path: Path) -> None:
    judge = CommandJudge(script(tmp_path, "print(sound.getnframes(), sound.getframerate())"))
    path = tmp_path / "x.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", ""))
        file.writeframes(pcm(0.5))
    assert judge.transcribe(path).split() == ["12000", "24000"]


def test_a_judge_that_fails_is_counted_and_not_guessed(tmp_path: Path) -> None:
    found = measure_word_errors(CommandJudge(script(tmp_path, "sys.exit(3)")), ANSWERS)
    assert (found.answers, found.words, found.failed, found.rate) == (0, 0, 2, None)


async def test_a_run_judges_the_configured_number_of_answers(tmp_path: Path) -> None:
    judge = JudgeOptions(command=script(tmp_path, "print('hallo')"), answers=2)
    async with raw_server(lambda _: spoken((0.0, 0.4))) as server:
        workload = Workload(dialect="openai")
        options = Options(url=server.url, requests=3, warmup=0, workload=workload, judge=judge)
        report = await measure(options, asyncio.Event(), open_judge(judge))
    errors = report.levels[0].word_errors
    assert errors is not None
    assert (errors.answers, errors.errors, errors.words) == (2, 2, 2)
    assert "word error rate at 1: 100.0%" in as_text(report)


def test_without_options_there_is_no_judge() -> None:
    assert open_judge(JudgeOptions()) is None


def test_whisper_is_required_only_if_it_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(Exception, match="needs faster_whisper"):
        open_judge(JudgeOptions(whisper="tiny.en"))
