"""What the server and its fork server say to each other: plain data, one message each.

Orders flow to the fork server, with a job's descriptors (log, input, output, and a socket to ask the server
on) beside them; ends flow back.
Imports no decoder.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from antiphon_server.media.sandbox import job as jobs

READY = b"ready"
MESSAGE_BYTES = 1 << 17
DESCRIPTORS = 4
LOG_BYTES = 16_384
# The exit code of a worker that lacks a required layer, and so did nothing.
NOT_CONFINED = 77


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What all workers have in common. `allow_weak`: decode even if a required layer is missing."""

    decode_s: float
    memory_bytes: int
    allow_weak: bool


@dataclass(frozen=True, slots=True)
class Order:
    """What the server asks for: a worker for `job` under a number, or, without one, that worker's end."""

    number: int
    job: jobs.Job | None = None

    def encode(self) -> bytes:
        return b"%d %s" % (self.number, jobs.encode(self.job) if self.job else b"")

    @classmethod
    def decode(cls, message: bytes) -> Order:
        number, _, job = message.partition(b" ")
        return cls(int(number), jobs.decode(job) if job else None)


@dataclass(frozen=True, slots=True)
class End:
    """How a worker ended: its exit code, negative for a signal, or the `errno` of a failed start."""

    number: int
    code: int = 0
    errno: int = 0

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, message: bytes) -> End:
        return cls(**json.loads(message))
