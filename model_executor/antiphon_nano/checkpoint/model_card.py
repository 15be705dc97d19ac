"""The model card of antiphon-nano: its description, training data, figures and limits, as Markdown.

Figures come from the reports of the stages. A missing figure is reported as missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from antiphon_nano.checkpoint.trained_speech import vocoder_file
from antiphon_nano.thinker.stages import joint_training, polish
from antiphon_nano.training import steps_done

Figures = Mapping[str, Mapping[str, Any]]
TEMPLATE = Path(__file__).with_suffix(".md")
_TEACHER = ("natural-heart, all", "teacher-answers")
STAGES = {
    "Thinker": joint_training.CHECKPOINT,
    "Thinker, polished": polish.CHECKPOINT,
    "Talker": "talker.safetensors",
}


def model_card(home: Path, model: nn.Module, size: int) -> str:
    """`size`: bytes of the weights."""
    parameters = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    speech, thinker = _read(home / "report.json"), _read(home / "thinker-report.json")
    files = STAGES | {"vocoder": vocoder_file(home).name}
    lines = [_steps(name, home / file) for name, file in files.items() if (home / file).exists()]
    sections = [
        table("Served, end to end", served(speech)),
        table("Speech, judged stage by stage", staged(speech)),
        table("Text, before it was served", thinker),
    ]
    written = TEMPLATE.read_text(encoding="utf-8")
    return written.format(
        parameters=parameters,
        size=size / 1e6,
        hours=_hours(home),
        steps="\n".join(lines),
        figures="\n".join(sections),
    )


def table(title: str, figures: Figures) -> str:
    """A Markdown table, or a line that says "Not taken." if there are no figures."""
    if not figures:
        return f"### {title}\nNot taken.\n"
    rows = [f"| {name} | {_formatted(values)} |" for name, values in figures.items()]
    return "\n".join([f"### {title}", "| what | figures |", "|---|---|", *rows, ""])


def _formatted(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_number(value)}" for key, value in values.items())


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(map(_number, value)) if isinstance(value, list) else str(value)


def served(report: Figures) -> Figures:
    """The figures taken through the server, and the teacher's on the same texts."""
    return {name: values for name, values in report.items() if name.startswith(("served", *_TEACHER))}


def staged(report: Figures) -> Figures:
    """The figures of single stages."""
    return {name: values for name, values in report.items() if not name.startswith(("served", *_TEACHER))}


def _steps(name: str, file: Path) -> str:
    done, whole, seconds = steps_done(file)
    return f"- {name}: {done:,} of {whole:,} steps, {seconds / 60:.0f} minutes"


def _hours(home: Path) -> str:
    frames = 0
    for path in (home / "speech").glob("train-*.json"):
        if "." not in path.stem:
            frames += sum(utterance["frames"] for utterance in json.loads(path.read_text()))
    return f"{frames * 0.08 / 3600:.1f} hours"


def _read(path: Path) -> Figures:
    found: Figures = json.loads(path.read_text()) if path.exists() else {}
    return found
