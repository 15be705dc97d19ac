"""What a decoder says is checked: it may have been taken over."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.media.sandbox.job import (
    Found,
    PictureJob,
    ProbeJob,
    Report,
    Size,
    SoundJob,
    VideoJob,
    decode,
    decode_found,
    decode_report,
    decode_size,
    encode,
)

JOBS = [
    SoundJob("wav", ("pcm_s16le", "adpcm_ms"), 16_000, 100, 64_000),
    VideoJob("mov", ("h264",), True, 600.0, 100, 2.0, 512, 1 << 20, 190.0, 1 << 30),
    PictureJob((10, 20), ("PNG", "JPEG"), 1 << 20, 1 << 20, 190.0),
    ProbeJob(),
]
REPORT = Report("foreign_sound", 2, 32, 64, 16_000, 4_096, 2, 1, 1.5, 0, "dts")


@pytest.mark.parametrize("job", JOBS, ids=lambda job: type(job).__name__)
def test_a_job_arrives_as_it_was_sent(job: Any) -> None:
    assert decode(encode(job)) == job


def test_answers_arrive_as_they_were_sent() -> None:
    assert decode_size(encode(Size(32, 64))) == Size(32, 64)
    assert decode_found(encode(Found(1, 32, 64, 5))) == Found(1, 32, 64, 5)
    assert decode_report(encode(REPORT)) == REPORT


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
        {"trouble": "nothing that we know"},
        {"codec": "dts\r\nforged: line"},
        {"codec": "x" * 41},
        {"codec": ["dts"]},
        {"more": 1},
        {"kind": "Found"},
    ],
)
def test_a_report_with_a_wrong_field_is_none(wrong: dict[str, Any]) -> None:
    fields = {"kind": "Report", **asdict(REPORT), **wrong}
    assert decode_report(json.dumps(fields).encode()) is None


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"width": 0}, {"height": -4}, {"samples": "7"}, {"x": 1}])
def test_a_question_with_a_wrong_field_is_none(wrong: dict[str, Any]) -> None:
    fields = {"kind": "Found", **asdict(Found(1, 32, 64)), **wrong}
    assert decode_found(json.dumps(fields).encode()) is None


@given(st.one_of(st.binary(max_size=200), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
    lambda value: json.dumps(value).encode()
)))  # fmt: skip
def test_no_message_upsets_the_server(message: bytes) -> None:
    assert decode_found(message) is None
    assert decode_report(message) is None


def test_a_report_that_was_cut_off_is_none() -> None:
    message = encode(replace(REPORT, trouble=None))
    assert not any(decode_report(message[:length]) for length in range(len(message)))
