"""The evaluation, `python -m antiphon_nano.served.evaluation HOME CHECKPOINT`, through `antiphon serve`.

Writes figures whose names begin with "served" to HOME/report.json, wrong answers beside it, shards for the
judge to HOME/judged, and HOME/bench.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from antiphon_nano.judging.report import record
from antiphon_nano.served import speech_exam
from antiphon_nano.served.examinee import Examinee, SpokenAnswer
from antiphon_nano.served.running_server import running_server
from antiphon_nano.thinker.exams import exams
from antiphon_nano.thinker.exams.evaluation import MarkedAnswer, figures
from antiphon_nano.thinker.exams.exams import Exam
from antiphon_nano.thinker.hearing.library import Library

REPORT = "report.json"
WRONG = "served-wrong.json"
BENCH = "bench.json"
STREAMS = "1,2,4,8"


class Evaluation:
    """`home`: the folder of the report and of the judged recordings."""

    def __init__(self, home: Path, examinee: Examinee) -> None:
        self._home = home
        self._examinee = examinee
        self._wrong: dict[str, list[list[str]]] = {}

    async def take_exam(self, exam: Exam, most: int) -> None:
        """One exam with text answers, with all its media."""
        dialogues = exam.draw(random.Random(f"served {exam.name}"), most)
        given = await self._examinee.written(dialogues)
        marked = [
            MarkedAnswer(str(dialogue.turns[-1].question)[:200], dialogue.turns[-1].answer, text)
            for dialogue, text in zip(dialogues, given, strict=True)
        ]
        record(self._home / REPORT, f"served {exam.name}", figures(marked, exam))
        self._wrong[exam.name] = [[m.asked, m.wanted, m.given] for m in marked if m.given != m.wanted]
        (self._home / WRONG).write_text(json.dumps(self._wrong, indent=1) + "\n")

    async def speak(
        self, written: Sequence[Exam], most: int, runaway_check: int, other_voice: str = "deep"
    ) -> None:
        """All spoken answers. The judge transcribes them later."""
        answered: list[SpokenAnswer] = []
        sets = speech_exam.sets(most, written)
        for asked in sets:
            spoken = await self._examinee.spoken(asked.dialogues)
            speech_exam.write(self._home / "judged" / asked.name, spoken, asked.words)
            answered += spoken
        (read,) = (asked.dialogues for asked in sets if asked.name == speech_exam.READ)
        spoken = await self._examinee.spoken(read[: most // 2], other_voice)
        speech_exam.write(self._home / "judged" / f"served-{other_voice}", spoken, (), other_voice)
        answered += spoken
        answered += await self._examinee.spoken(
            speech_exam.runaway_check(max(0, runaway_check - len(answered)))
        )
        runaways = sum(one.is_runaway for one in answered)
        seconds = sum(one.seconds for one in answered)
        told = {"answers": len(answered), "runaways": runaways, "minutes": round(seconds / 60, 1)}
        record(self._home / REPORT, "served runaways", told)


def bench(url: str, home: Path, requests: int) -> None:
    """Speed, by `antiphon bench`: time to first audio and real-time factor for 1, 2, 4 and 8 streams."""
    prompts = home / "bench.txt"
    prompts.write_text("\n".join(f"Count from one to {word}." for word in ("ten", "nine", "eight")) + "\n")
    command = [sys.executable, "-m", "antiphon_server", "bench", url, "--concurrency", STREAMS]
    command += ["--requests", str(requests), "--prompts", str(prompts), "--json", str(home / BENCH)]
    subprocess.run(command, check=True)
    for level in json.loads((home / BENCH).read_text())["levels"]:
        times = level["latencies"]
        told = {
            "first_sound_ms": _milliseconds(times["ttfa_s"]),
            "real_time_factor": round(times["rtf"]["p50"], 3) if times["rtf"] else None,
            "underruns": level["underruns"],
            "answers": level["good"],
        }
        record(home / REPORT, f"served, {level['name']}", told)


def _milliseconds(found: dict[str, float] | None) -> float | None:
    return round(1000 * found["p50"]) if found else None


async def _examine(url: str, arguments: argparse.Namespace) -> None:
    home: Path = arguments.home
    evaluation = Evaluation(home, Examinee(url))
    written = exams.every(Library(home / "speech", home / "asked", "judged"))
    for exam in written:
        await evaluation.take_exam(exam, arguments.most)
    await evaluation.speak(written, arguments.aloud, arguments.runaway_check)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--most", type=int, default=200, help="maximum questions per exam with text answers")
    parser.add_argument(
        "--aloud", type=int, default=200, help="spoken answers, and held-out texts read aloud"
    )
    parser.add_argument(
        "--endless", type=int, default=1000, help="spoken answers that are checked for their end"
    )
    parser.add_argument("--requests", type=int, default=16, help="requests per level of the benchmark")
    arguments = parser.parse_args()
    with running_server(arguments.checkpoint, arguments.home / "served.log") as url:
        asyncio.run(_examine(url, arguments))
        bench(url, arguments.home, arguments.requests)


if __name__ == "__main__":
    main()
