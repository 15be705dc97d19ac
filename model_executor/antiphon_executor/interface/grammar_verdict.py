"""Result of test-compiling a JSON schema: a flaw, or the CPU time it will cost; and its wire format."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import msgspec

# `too_complex`: the schema reached a limit of the compiler or of its process.
Flaw = Literal["unsupported", "unsatisfiable", "reference", "too_complex"]


@dataclass(frozen=True, slots=True)
class CompileLimits:
    """Limits of one compilation, in addition to what its process used before."""

    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """CPU seconds to validate a schema, to compile it, and to compute its most expensive token mask."""

    flaw: Flaw | None = None
    check_s: float = 0.0
    compile_s: float = 0.0
    step_s: float = 0.0


def encode_verdict(verdict: Verdict) -> bytes:
    return msgspec.json.encode(asdict(verdict))


def decode_verdict(message: bytes) -> Verdict:
    """Raises ValueError if `message` is not an encoded verdict."""
    return msgspec.json.decode(message, type=Verdict)
