"""The whole of a run, as it is written to a file.

In: facts and figures. Out: JSON with a version of its own: fields are added, none changes its meaning.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from antiphon_server.bench.load.workload import about_inputs
from antiphon_server.bench.measure.environment import ClientFacts, ServerFacts
from antiphon_server.bench.options import Options
from antiphon_server.bench.report.summary import LevelReport


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests were, and how they were judged."""

    answer: str
    inputs: str
    dialect: str
    sound_in: str | None
    voice: str | None
    max_tokens: int | None
    requests_a_level: int | None
    duration_s: float | None
    warmup: int
    timeout_s: float
    retries: int
    seed: int
    start_buffer_s: float
    leave_after_s: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds. `is_complete`: not stopped before its last level was done."""

    schema: Literal["antiphon-bench"] = "antiphon-bench"
    schema_version: int = 1
    created: str
    command: str
    server: ServerFacts
    client: ClientFacts
    asked: Asked
    levels: tuple[LevelReport, ...]
    is_complete: bool


def created_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")  # noqa: TID251 - a time stamp


def describe_asked(options: Options, dialect: str, sound_in: str | None) -> Asked:
    """`sound_in`: where the sound stood in the chunks."""
    asking = options.asking
    return Asked(
        answer=asking.answer,
        inputs=about_inputs(asking),
        dialect=dialect,
        sound_in=sound_in,
        voice=asking.voice,
        max_tokens=asking.max_tokens,
        requests_a_level=options.requests,
        duration_s=options.duration_s,
        warmup=options.warmup,
        timeout_s=options.timeout_s,
        retries=options.retries,
        seed=options.seed,
        start_buffer_s=options.start_buffer_s,
        leave_after_s=options.leave_after_s,
    )


def write_json(report: Report, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def read_json(path: Path) -> Report:
    """A report of this version. Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(path.read_bytes(), type=Report)
