"""The result of one check of `antiphon doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`fix` is empty if there is nothing to do."""

    topic: str
    verdict: Verdict
    detail: str
    fix: str = ""
