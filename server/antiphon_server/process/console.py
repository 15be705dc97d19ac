"""The server's own standard output and error: where its lines go while libraries' are caught elsewhere."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Console:
    """`out`: what the operator reads once. `err`: progress, log and errors."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
