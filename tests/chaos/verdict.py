"""One promise and whether it held: a printed line of a chaos run, and part of its exit code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """`measured`: the measured value, with its bound if there is one."""

    promise: str
    held: bool
    measured: str

    def __str__(self) -> str:
        return f"{'held  ' if self.held else 'BROKEN'}  {self.promise}: {self.measured}"


def broken(verdicts: Iterable[Verdict]) -> list[str]:
    """The lines of those that did not hold."""
    return [str(verdict) for verdict in verdicts if not verdict.held]
