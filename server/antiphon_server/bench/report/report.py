"""The report of a run and its JSON file.

The JSON format has its own version: fields may be added, but no field changes its meaning.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from antiphon_server.bench.load.workload import describe_inputs
from antiphon_server.bench.measure.environment import ClientFacts, ServerFacts
from antiphon_server.bench.options import Options
from antiphon_server.bench.report.summary import LevelReport


class RequestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the requests and the options of the run. `sound_in`: the JSON field of the audio."""

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
    """All times are in seconds. `is_complete`: false if the run was stopped before its last level ended."""

    schema: Literal["antiphon-bench"] = "antiphon-bench"
    schema_version: int = 1
    created: str
    command: str
    server: ServerFacts
    client: ClientFacts
    asked: RequestFacts
    levels: tuple[LevelReport, ...]
    is_complete: bool


def created_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")  # noqa: TID251 - a time stamp


def describe_request(options: Options, dialect: str, audio_field: str | None) -> RequestFacts:
    """`audio_field`: the JSON field of the chunks that held the audio."""
    workload = options.workload
    return RequestFacts(
        answer=workload.answer,
        inputs=describe_inputs(workload),
        dialect=dialect,
        sound_in=audio_field,
        voice=workload.voice,
        max_tokens=workload.max_tokens,
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
    """Reads a report of this version. Raises `msgspec.DecodeError`."""
    return msgspec.json.decode(path.read_bytes(), type=Report)
