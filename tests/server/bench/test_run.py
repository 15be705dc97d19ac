"""The whole tool against servers with known delays: the report matches them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, count
from typing import Any

import pytest

from antiphon_server.bench.options import Level, Options, Workload
from antiphon_server.bench.report.report import Report
from antiphon_server.bench.report.summary import LevelReport
from antiphon_server.bench.report.table import as_text
from antiphon_server.bench.run import measure
from antiphon_server.exits import StartupError
from tests.server.bench.raw_server import (
    DONE,
    Answer,
    Reply,
    b64,
    delta,
    event,
    finish,
    pcm,
    raw_server,
    refusal,
    sound,
    spoken,
    word,
)
from tests.server.exchange import becomes_true
from tests.simulated_time import on_simulated_time

# Nothing else takes time: see tests/simulated_time.py.
SLOP_S = 1e-3
STEADY = spoken((0.0, 1.0))


def asked(url: str, **changes: Any) -> Options:
    return replace(Options(url=url, requests=1, warmup=0, workload=Workload(dialect="openai")), **changes)


async def level_of(reply: Reply, **changes: Any) -> LevelReport:
    async with raw_server(reply) as server:
        return (await measure(asked(server.url, **changes), asyncio.Event())).levels[0]


@on_simulated_time
async def test_a_known_underrun_is_reported_exactly() -> None:
    """0.2 s of audio, then nothing for 0.7 s: 0.5 s too late; the next packet is in time."""
    level = await level_of(lambda _: spoken((0.1, 0.2), (0.7, 1.0), (0.1, 1.0)))
    assert (level.underruns, level.streams_with_underruns, level.clean, level.good) == (1, 1, 0, 1)
    assert level.underrun_s == pytest.approx(0.5, abs=SLOP_S)
    slack = level.latencies.least_slack_s
    assert slack is not None
    assert slack.worst == pytest.approx(-0.5, abs=SLOP_S)
    assert level.audio_s == pytest.approx(2.2)


@on_simulated_time
async def test_a_start_buffer_prevents_the_underrun() -> None:
    answer = spoken((0.1, 0.2), (0.7, 1.0), (0.1, 1.0))
    level = await level_of(lambda _: answer, start_buffer_s=1.2)
    assert (level.underruns, level.clean) == (0, 1)


@on_simulated_time
async def test_times_count_from_the_request() -> None:
    pieces = ((0.2, word("a")), (0.2, sound(0.5)), (0.2, sound(0.5)), (0.2, finish()))
    level = await level_of(lambda _: Answer(pieces))
    found = level.latencies
    for distribution, expected_s in ((found.ttft_s, 0.2), (found.ttfa_s, 0.4), (found.e2e_s, 0.8)):
        assert distribution is not None
        assert distribution.worst == pytest.approx(expected_s, abs=SLOP_S)
    assert found.rtf is not None
    assert found.rtf.worst == pytest.approx(0.6, abs=SLOP_S)
    assert found.speech_rtf is not None
    assert found.speech_rtf.worst == pytest.approx(0.4, abs=2 * SLOP_S)


@on_simulated_time
async def test_rejections_are_counted_and_never_hidden() -> None:
    answers = chain([refusal(429, "queue_full", retry_after_ms="10")] * 3, [STEADY] * 99)
    level = await level_of(lambda _: next(answers), requests=8)
    assert (level.requests, level.good, level.rejections) == (8, 5, 3)
    assert level.outcomes == {"rejected": 3, "ok": 5}
    first = level.streams[0]
    assert (first.status, first.reason, first.retry_after_s) == (429, "queue_full", 0.01)


@on_simulated_time
async def test_a_retry_waits_for_retry_after_and_its_wait_counts_as_latency() -> None:
    answers = chain([refusal(429, "queue_full", retry_after_ms="300")], [STEADY])
    level = await level_of(lambda _: next(answers), retries=2)
    assert (level.good, level.rejections) == (1, 1)
    assert level.latencies.ttfa_s is not None
    assert level.latencies.ttfa_s.worst == pytest.approx(0.3, abs=SLOP_S)


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        (Answer(((0.0, word("a")), (0.0, sound(0.1))), is_cut=True), "broken", None),
        (Answer(((0.0, word("a")), (0.0, sound(0.1)))), "broken", "without finish_reason"),
        (
            Answer(((0.0, sound(0.1)), (0.0, event({"error": {"code": "engine_dead"}})))),
            "error_event",
            "dead",
        ),
        (Answer(((0.0, b"data: {\n\n"),)), "broken", "not a chunk"),
        (Answer(((0.0, word("a")), (0.0, finish()))), "no_audio", "no audio arrived"),
        (Answer(((0.0, b"{}"),), 200, (("content-type", "application/json"),)), "broken", "as a whole"),
        (refusal(503, "draining"), "unavailable", "draining"),
        (refusal(400, "bad"), "http_error", "bad"),
        (Answer(((0.0, word("a")), (9.0, DONE))), "timeout", "0.4 s"),
    ],
    ids=["killed", "unfinished", "error", "garbage", "silent", "whole", "503", "400", "hanging"],
)
@on_simulated_time
async def test_a_failure_is_named_with_its_request(answer: Answer, outcome: str, reason: str | None) -> None:
    answer = replace(answer, headers=(*answer.headers, ("x-request-id", "req_77")))
    level = await level_of(lambda _: answer, timeout_s=0.4)
    assert (level.good, level.outcomes) == (0, {outcome: 1})
    record = level.streams[0]
    assert record.request_id == "req_77"
    assert reason is None or reason in (record.reason or "")


@on_simulated_time
async def test_an_open_loop_counts_the_wait_that_a_slow_server_makes() -> None:
    """Requests of 0.2 s, one at a time, at 20 requests per second: the last one waits for all others."""
    async with raw_server(lambda _: spoken((0.2, 1.0)), at_once=1) as server:
        options = asked(server.url, levels=(Level(rate_hz=20.0),), requests=6)
        level = (await measure(options, asyncio.Event())).levels[0]
    assert level.good == 6
    assert level.latencies.ttfa_s is not None
    assert level.latencies.ttfa_s.best < 0.2 + SLOP_S
    assert level.latencies.ttfa_s.worst > 6 * 0.2 - 6 / 20 - SLOP_S


@on_simulated_time
async def test_levels_run_one_after_the_other_each_with_its_own_load() -> None:
    async with raw_server(lambda _: spoken((0.1, 1.0))) as server:
        options = asked(server.url, levels=(Level(concurrency=1), Level(concurrency=5)), requests=10)
        one, five = (await measure(options, asyncio.Event())).levels
    assert server.most_running == 5
    assert (one.good, five.good) == (10, 10)
    assert one.in_flight == pytest.approx(1.0, abs=0.1)
    assert 3.0 < five.in_flight <= 5.01
    assert five.requests_per_s > 2 * one.requests_per_s


@on_simulated_time
async def test_a_stream_closed_after_enough_audio_is_not_broken() -> None:
    endless = Answer(tuple((0.02, piece) for piece in [word("a"), *[sound(0.08)] * 500]))
    level = await level_of(lambda _: endless, leave_after_s=0.4, requests=3)
    assert level.outcomes == {"left": 3}
    assert 0.4 <= level.audio_s / 3 < 0.6
    assert level.latencies.e2e_s is None


def dashscope_only(body: dict[str, Any]) -> Answer:
    """Rejects OpenAI's format, as DashScope does, and sends text in `content`."""
    if body["audio"]["format"] != "wav":
        return refusal(400, "invalid_parameter_error")
    return Answer(((0.0, delta({"content": "w"})), (0.0, sound(0.3)), (0.0, finish())))


def vllm_omni_only(body: dict[str, Any]) -> Answer:
    if "audio" in body:
        return refusal(400, "extra_forbidden")
    text = delta({"content": "w"}, modality="text")
    return Answer(((0.0, text), (0.0, delta({"content": b64(pcm(0.3))}, modality="audio")), (0.0, finish())))


@pytest.mark.parametrize(
    ("reply", "dialect", "place"),
    [
        (lambda _: STEADY, "openai", "delta.audio.data"),
        (dashscope_only, "dashscope", "delta.audio.data"),
        (vllm_omni_only, "vllm-omni", "delta.content"),
    ],
    ids=["openai", "dashscope", "vllm-omni"],
)
@on_simulated_time
async def test_the_dialect_is_detected(reply: Reply, dialect: str, place: str) -> None:
    async with raw_server(reply) as server:
        report = await measure(asked(server.url, workload=Workload(), requests=2), asyncio.Event())
    assert (report.asked.dialect, report.asked.sound_in) == (dialect, place)
    assert report.levels[0].clean == 2
    assert {record.text for record in report.levels[0].streams} <= {"w", "hello"}


@on_simulated_time
async def test_a_server_that_rejects_all_dialects_is_an_error() -> None:
    async with raw_server(lambda _: refusal(400, "unknown_model")) as server:
        with pytest.raises(StartupError, match="unknown_model"):
            await measure(asked(server.url, workload=Workload()), asyncio.Event())


@on_simulated_time
async def test_the_key_is_sent_and_appears_nowhere_else() -> None:
    async with raw_server(lambda _: STEADY) as server:
        report = await measure(asked(server.url, api_key="canary-key"), asyncio.Event())
    assert set(server.keys) == {"Bearer canary-key"}
    assert "canary-key" not in as_text(report)


@on_simulated_time
async def test_warm_up_requests_are_sent_and_not_counted() -> None:
    async with raw_server(lambda _: STEADY) as server:
        report = await measure(asked(server.url, warmup=3, requests=2), asyncio.Event())
    assert (len(server.asked), report.levels[0].requests) == (5, 2)


@on_simulated_time
async def test_a_stop_cancels_open_requests_and_keeps_the_measurements() -> None:
    stop = asyncio.Event()
    numbers = count()

    def reply(_: dict[str, Any]) -> Answer:
        return STEADY if next(numbers) < 3 else spoken((60.0, 1.0))

    async with raw_server(reply) as server:
        levels = (Level(concurrency=1), Level(concurrency=2))
        work = asyncio.create_task(measure(asked(server.url, levels=levels, requests=9), stop))
        assert await becomes_true(lambda: len(server.asked) == 4)
        stop.set()
        report: Report = await asyncio.wait_for(work, 60)
    assert not report.is_complete
    (level,) = report.levels
    assert level.outcomes == {"ok": 3, "cancelled": 1}
    assert "stopped early" in as_text(report)


@on_simulated_time
async def test_a_stalled_client_marks_its_figures_as_unreliable() -> None:
    async with raw_server(lambda _: spoken(*[(0.05, 0.1)] * 10)) as server:

        def stall(times: Iterator[int]) -> None:
            time.sleep(0.15)
            if next(times, None) is not None:
                asyncio.get_running_loop().call_later(0.05, stall, times)

        asyncio.get_running_loop().call_later(0.1, stall, iter(range(4)))
        report = await measure(asked(server.url, requests=2), asyncio.Event())
    assert report.levels[0].unreliable
    assert "UNRELIABLE" in as_text(report)
