"""The table of the acceptance script: what a stage is given, and the rows that it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch


@dataclass(frozen=True)
class Given:
    """`model`: the checkpoint of the stages with an engine; `steps`: frames of each of their streams."""

    device: torch.device
    batches: Sequence[int]
    model: Path
    steps: int


@dataclass(frozen=True)
class Row:
    """One line of a table. `expected`: written before the first run, in words; `good`: whether it holds."""

    stage: str
    what: str
    batch: int
    dtype: str
    microseconds: float
    error: float
    expected: str
    good: bool


Stage = Callable[[Given], list[Row]]


def head() -> str:
    names = [field.name for field in fields(Row)]
    return f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}"


def line(row: Row) -> str:
    values = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in asdict(row).values())
    return f"| {' | '.join(values)} |"


def failed(stage: str, error: Exception) -> Row:
    """In place of the rows of a stage that has raised: the stages after it still run."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return Row(stage, reason, 0, "", 0.0, 0.0, "no exception", False)
