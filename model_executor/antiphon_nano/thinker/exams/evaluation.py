"""Stage "figures", `python -m antiphon_nano.thinker.exams.evaluation FOLDER`: how often the Thinker is right.

Writes shares and gates to FOLDER/thinker-report.json, and wrong answers beside it. Questions are held out;
decoding is greedy; an answer must be right to the letter, except for transcripts.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from antiphon_executor.reference.thinker import Thinker
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.judging import transcript
from antiphon_nano.judging.report import record
from antiphon_nano.thinker.dialogue import Dialogue, Writer
from antiphon_nano.thinker.exams import exams
from antiphon_nano.thinker.exams.exams import Exam
from antiphon_nano.thinker.hearing.library import Library
from antiphon_nano.thinker.network import greedy, network
from antiphon_nano.thinker.stages import joint_training, polish
from antiphon_nano.thinker.stages.polish import thinker_file
from antiphon_nano.training import steps_done, weights

REPORT = "thinker-report.json"
WRONG = "thinker-wrong.json"


@dataclass(frozen=True, slots=True)
class MarkedAnswer:
    """The expected answer and the given one."""

    asked: str
    wanted: str
    given: str


class Candidate:
    """A Thinker that takes exams."""

    def __init__(self, thinker: Thinker, writer: Writer) -> None:
        self._thinker, self._writer = thinker.eval(), writer

    def take_exam(self, dialogues: Sequence[Dialogue]) -> list[MarkedAnswer]:
        """The last answer of every dialogue, given the earlier ones."""
        order = sorted(range(len(dialogues)), key=lambda i: len(self._writer.prompt(dialogues[i]).token_ids))
        marked: dict[int, MarkedAnswer] = {}
        for part in _parts([(i, dialogues[i]) for i in order]):
            prompts = [self._writer.prompt(dialogue) for _, dialogue in part]
            answered = greedy.answers(self._thinker, prompts, self._writer.end)
            for (index, dialogue), ids in zip(part, answered, strict=True):
                turn = dialogue.turns[-1]
                asked = " ".join(str(p) if isinstance(p, str) else type(p).__name__ for p in turn.question)
                marked[index] = MarkedAnswer(asked, turn.answer, self._writer.decode(ids))
        return [marked[index] for index in range(len(dialogues))]


def figures(marked: Sequence[MarkedAnswer], exam: Exam) -> dict[str, object]:
    """Percent right, or the word error rate; and whether the gate is passed."""
    wanted, given = [exam.part(m.wanted) for m in marked], [exam.part(m.given) for m in marked]
    if exam.transcript:
        rate = transcript.score(wanted, given).word_error_rate
        return {"wer": round(rate, 2), "gate": exam.gate, "passed": rate <= exam.gate, "texts": len(marked)}
    share = 100 * sum(map(str.__eq__, wanted, given)) / len(marked)
    return {"right": round(share, 2), "gate": exam.gate, "passed": share >= exam.gate, "asked": len(marked)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", help="a file in FOLDER (default: that of the last stage)")
    parser.add_argument("--most", type=int, default=200, help="maximum questions per exam")
    parser.add_argument("--typed", action="store_true", help="only exams without media")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    checkpoint = folder / arguments.checkpoint if arguments.checkpoint else thinker_file(folder)
    torch.set_num_threads(1)
    tokenizer = nano_tokenizer()
    config = network.nano_config(tokenizer)
    thinker = network.nano_thinker(config)
    load(thinker, checkpoint)
    candidate = Candidate(thinker, Writer(tokenizer, config))
    wrong: dict[str, list[list[str]]] = {}
    done, whole, _ = steps_done(checkpoint)
    for exam in (
        exams.typed()
        if arguments.typed
        else exams.every(Library(folder / "speech", folder / "asked", "judged"))
    ):
        marked = candidate.take_exam(exam.draw(random.Random(f"judged {exam.name}"), arguments.most))
        record(folder / REPORT, exam.name, figures(marked, exam) | {"steps": f"{done}/{whole}"})
        wrong[exam.name] = [[m.asked, m.wanted, m.given] for m in marked if m.given != m.wanted]
        (folder / WRONG).write_text(json.dumps(wrong, indent=1) + "\n")


def load(thinker: Thinker, path: Path) -> None:
    """Loads the weights of a whole Thinker, or those of the text stage, which has no towers."""
    if path.name in (joint_training.CHECKPOINT, polish.CHECKPOINT):
        thinker.load_state_dict(weights(path, "thinker"))
        return
    for name in ("model", "lm_head"):
        thinker.get_submodule(name).load_state_dict(weights(path, name))


def _parts(dialogues: list[tuple[int, Dialogue]]) -> Iterator[list[tuple[int, Dialogue]]]:
    size = 32
    for start in range(0, len(dialogues), size):
        yield dialogues[start : start + size]


if __name__ == "__main__":
    main()
