"""One promise and whether it held: a line of what a run of chaos prints, and a part of its exit code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """`measured`: what was seen, with its bound where there is one."""

    promise: str
    held: bool
    measured: str

    def __str__(self) -> str:
        return f"{'held  ' if self.held else 'BROKEN'}  {self.promise}: {self.measured}"


def broken(verdicts: Iterable[Verdict]) -> list[str]:
    """The lines of those that did not hold."""
    return [str(verdict) for verdict in verdicts if not verdict.held]
