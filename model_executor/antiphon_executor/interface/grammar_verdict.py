"""What is known of a JSON schema before vLLM gets it: a flaw, or the processor time that it will take.

In: what `grammar_worker.py` measured. Out: the same, as bytes for the server, which imports no compiler.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import msgspec

# `too_complex`: a limit of the compiler's own, or of its process.
Flaw = Literal["unsupported", "unsatisfiable", "reference", "too_complex"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one compilation, beyond what its process had before."""

    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Seconds of processor time. `check_s`: to read and check it; `step_s`: for the dearest token mask."""

    flaw: Flaw | None = None
    check_s: float = 0.0
    compile_s: float = 0.0
    step_s: float = 0.0


def encode_verdict(verdict: Verdict) -> bytes:
    return msgspec.json.encode(asdict(verdict))


def decode_verdict(message: bytes) -> Verdict:
    """Raises ValueError for what is none."""
    return msgspec.json.decode(message, type=Verdict)
