"""The messages of a decoder are validated, because a hostile file may control it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.media.sandbox.job import (
    AudioJob,
    DecodeReport,
    Dimensions,
    ImageJob,
    Piece,
    ProbeJob,
    Size,
    VideoJob,
    decode_dimensions,
    decode_job,
    decode_piece,
    decode_report,
    decode_size,
    encode_message,
)

JOBS = [
    AudioJob("wav", ("pcm_s16le", "adpcm_ms"), 16_000, 100, 64_000),
    AudioJob("wav", ("pcm_s16le",), 16_000, 100, 64_000, 16_000),
    VideoJob(
        "mov", ("h264",), True, 600.0, 100, 2.0, 4, 512, None, 1 << 20, 190.0, 1 << 30, 480_000, 1 << 23
    ),
    ImageJob((10, 20), ("PNG", "JPEG"), 1 << 20, 1 << 20, 190.0),
    ProbeJob(),
]
REPORT = DecodeReport("unsupported_audio", 2, 32, 64, 16_000, 2, 1, 1.5, 0, "dts")


@pytest.mark.parametrize("job", JOBS, ids=lambda job: type(job).__name__)
def test_a_job_survives_the_round_trip(job: Any) -> None:
    assert decode_job(encode_message(job)) == job


def test_answers_survive_the_round_trip() -> None:
    assert decode_size(encode_message(Size(32, 64))) == Size(32, 64)
    film = Dimensions(1, 32, 64, 5, 2.5)
    assert decode_dimensions(encode_message(film)) == film
    assert decode_piece(encode_message(Piece(7))) == Piece(7)
    assert decode_piece(encode_message(Piece(frames=7))) == Piece(frames=7)
    assert decode_report(encode_message(REPORT)) == REPORT


@pytest.mark.parametrize("kind", ["samples", "frames"])
@pytest.mark.parametrize("number", [0, -1, 1.5, "7", None, 1 << 50])
def test_a_piece_without_a_valid_number_of_samples_or_frames_is_none(kind: str, number: Any) -> None:
    assert decode_piece(json.dumps({"kind": "Piece", kind: number}).encode()) is None


def test_a_piece_of_both_samples_and_frames_is_none() -> None:
    assert decode_piece(encode_message(Piece(7, 7))) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": -1},
        {"frames": 1.5},
        {"frames": True},
        {"samples": 1 << 50},
        {"height": None},
        {"rate_denominator": 0},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"seconds": -1.0},
        {"seconds": 3},
        {"failure": "nothing that we know"},
        {"codec": "dts\r\nforged: line"},
        {"codec": "x" * 41},
        {"codec": ["dts"]},
        {"more": 1},
        {"kind": "Dimensions"},
    ],
)
def test_a_report_with_a_wrong_field_is_none(wrong: dict[str, Any]) -> None:
    fields = {"kind": "DecodeReport", **asdict(REPORT), **wrong}
    assert decode_report(json.dumps(fields).encode()) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": 0},
        {"width": 0},
        {"height": -4},
        {"samples": "7"},
        {"seconds": float("nan")},
        {"seconds": -1.0},
        {"x": 1},
    ],
)
def test_a_question_with_a_wrong_field_is_none(wrong: dict[str, Any]) -> None:
    fields = {"kind": "Dimensions", **asdict(Dimensions(1, 32, 64)), **wrong}
    assert decode_dimensions(json.dumps(fields).encode()) is None


@given(st.one_of(st.binary(max_size=200), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
    lambda value: json.dumps(value).encode()
)))  # fmt: skip
def test_any_message_is_parsed_or_none(message: bytes) -> None:
    assert decode_dimensions(message) is None
    assert decode_report(message) is None


def test_a_report_that_was_cut_off_is_none() -> None:
    message = encode_message(replace(REPORT, failure=None))
    assert not any(decode_report(message[:length]) for length in range(len(message)))
