"""The messages between the server and its fork server: plain data, one message each.

Orders go to the fork server together with a job's descriptors (log, input, output, question socket); exits
come back. Imports no decoder.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from antiphon_server.media.sandbox import job as jobs

READY = b"ready"
MESSAGE_BYTES = 1 << 17
DESCRIPTORS = 4
LOG_BYTES = 16_384
# Exit code of a worker that did nothing because a required layer of its confinement is missing.
NOT_CONFINED = 77


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """The settings of all workers. `allow_weak`: decode even if a required layer is missing."""

    decode_s: float
    memory_bytes: int
    allow_weak: bool


@dataclass(frozen=True, slots=True)
class WorkerOrder:
    """With `job`: start a worker under `number`. Without: kill the worker of this number."""

    number: int
    job: jobs.Job | None = None

    def encode(self) -> bytes:
        return b"%d %s" % (self.number, jobs.encode_message(self.job) if self.job else b"")

    @classmethod
    def decode(cls, message: bytes) -> WorkerOrder:
        number, _, job = message.partition(b" ")
        return cls(int(number), jobs.decode_job(job) if job else None)


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """The end of a worker: its exit code (negative for a signal), or the `errno` of a failed start."""

    number: int
    code: int = 0
    errno: int = 0

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, message: bytes) -> WorkerExit:
        return cls(**json.loads(message))
