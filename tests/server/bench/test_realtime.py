"""`antiphon bench --realtime` against servers with known delays: latencies, missed ends, underruns."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from antiphon_server.bench.cli import read_options
from antiphon_server.bench.load.attachments import wav_file
from antiphon_server.bench.options import Level, Options, RealtimeOptions, Workload
from antiphon_server.bench.realtime.levels import measure_levels, warm_up
from antiphon_server.bench.realtime.summary import TalkReport, summarise
from antiphon_server.bench.realtime.table import _times, _turns
from antiphon_server.bench.realtime.utterance import RATE_HZ, Utterance, make_utterances, speech_end
from antiphon_server.exits import StartupError
from tests.server.bench.talking_server import SILENT_FRAMES, TalkingServer, Told, talking_server
from tests.simulated_time import on_simulated_time

SLOP_S = 1e-3
FRAME_S = 0.04
DETECTED_S = SILENT_FRAMES * FRAME_S
SPEECH = (np.random.default_rng(0).uniform(-1, 1, RATE_HZ) * 9_000).astype(np.int16)
# One second of speech, and silence behind it as recordings have it.
SAID = Utterance("a second", np.concatenate((SPEECH, np.zeros(RATE_HZ // 5, np.int16))), 1.0)
TALK = RealtimeOptions(turns=2, end_within_s=2.0)


async def level_of(
    *told: Told, at_once: int = 1, said: Utterance = SAID, **changes: Any
) -> tuple[TalkReport, TalkingServer]:
    async with talking_server(*told) as (server, url):
        options = Options(url=url, levels=(Level(concurrency=at_once),), timeout_s=5.0, api_key="sesame")
        talk = replace(TALK, **changes)
        (found,) = await measure_levels(options, talk, "omni", [[said]], asyncio.Event())
    return summarise(found, 0.02), server


@on_simulated_time
async def test_latency_counts_from_the_end_of_speech() -> None:
    level, server = await level_of(Told(((0.2, 1.0), (0.5, 1.0))))
    assert (level.turns, level.good, level.outcomes) == (2, 2, {"ok": 2})
    assert level.latency_s is not None
    assert level.latency_s.worst == pytest.approx(DETECTED_S + 0.2, abs=SLOP_S)
    assert level.detected_s is not None
    assert level.detected_s.best == pytest.approx(DETECTED_S, abs=SLOP_S)
    assert level.thinking_s is not None
    assert level.thinking_s.worst == pytest.approx(0.2, abs=SLOP_S)
    assert [one.turn for one in level.by_turn] == [1, 2]
    assert (level.underruns, level.false_barge_ins, level.early_ends, level.missed_ends) == (0, 0, 0, 0)
    assert level.audio_s == pytest.approx(4.0)
    assert level.records[0].text == "so so "
    assert server.keys == ["Bearer sesame"]
    assert server.sessions[0]["audio"]["input"]["turn_detection"] == {"type": "server_vad"}
    assert _turns(level)[:4] == ["1", "a second", "2", "2"]
    assert _times(level)[3] == f"{(DETECTED_S + 0.2) * 1e3:.0f}"
    assert msgspec.json.decode(msgspec.json.encode(level), type=TalkReport) == level


@on_simulated_time
async def test_an_underrun_is_counted() -> None:
    """A second of sound, the next packet 1.4 s later."""
    level, _ = await level_of(Told(((0.2, 1.0), (1.4, 1.0))))
    assert level.underruns == 2
    assert level.underrun_s == pytest.approx(0.8, abs=SLOP_S)
    slack = level.least_slack_s
    assert slack is not None
    assert slack.worst == pytest.approx(-0.4, abs=SLOP_S)


@on_simulated_time
async def test_a_missed_end_is_counted_and_the_next_turn_begins_afresh() -> None:
    level, server = await level_of(Told(is_deaf=True), Told())
    assert level.outcomes == {"missed_end": 1, "ok": 1}
    assert level.missed_ends == 1
    assert server.kinds == ["session.update", "input_audio_buffer.clear"]


@on_simulated_time
async def test_a_pause_within_an_utterance_is_an_early_end() -> None:
    """The server answers the first half; only the answer to the whole counts."""
    halves = np.concatenate((SPEECH, np.zeros(RATE_HZ, np.int16), SPEECH))
    level, _ = await level_of(Told(((0.1, 0.2),)), said=Utterance("halves", halves, 3.0))
    assert (level.early_ends, level.good) == (2, 2)
    assert level.latency_s is not None
    assert level.latency_s.worst == pytest.approx(DETECTED_S + 0.1, abs=SLOP_S)


@on_simulated_time
async def test_a_barge_in_while_the_user_is_silent_is_false() -> None:
    cut = Told(status="cancelled", details={"reason": "turn_detected"}, hears_itself=True)
    level, _ = await level_of(cut)
    assert level.outcomes == {"cut": 2}
    assert level.false_barge_ins == 2
    assert level.latency_s is None


@on_simulated_time
async def test_speech_that_a_server_hears_in_the_pause_behind_a_turn_is_false() -> None:
    """The answer has a second of sound, and the pause is of half a second."""
    level, _ = await level_of(Told(hears_later_s=1.3))
    assert level.outcomes == {"ok": 2}
    assert level.false_barge_ins == 2


@on_simulated_time
async def test_an_answer_that_comes_too_late_is_none() -> None:
    """It ends while the player plays what came in time."""
    level, _ = await level_of(Told(((4.0, 3.0), (1.0, 1.0))), turns=1)
    assert level.outcomes == {"unanswered": 1}


@on_simulated_time
async def test_a_server_that_leaves_between_two_turns_has_answered_the_first() -> None:
    level, _ = await level_of(Told(leaves=True))
    assert level.outcomes == {"ok": 1, "closed": 1}


@on_simulated_time
async def test_an_event_that_cannot_be_read_is_named() -> None:
    level, _ = await level_of(Told(is_garbled=True), turns=1)
    assert level.outcomes == {"closed": 1}
    assert level.records[0].reason == "an event of the server cannot be read: KeyError('response')"


@pytest.mark.parametrize(
    ("told", "outcome", "reason"),
    [
        (
            Told(status="failed", details={"error": {"code": "not_in_real_time"}}),
            "failed",
            "not_in_real_time",
        ),
        (Told(packets=()), "failed", "no sound"),
        (Told(((9.0, 1.0),)), "unanswered", None),
    ],
    ids=["failed", "silent", "late"],
)
@on_simulated_time
async def test_a_fault_is_named(told: Told, outcome: str, reason: str | None) -> None:
    level, _ = await level_of(told, turns=1)
    assert (level.outcomes, level.records[0].reason) == ({outcome: 1}, reason)


@on_simulated_time
async def test_conversations_of_a_level_run_at_once() -> None:
    level, server = await level_of(Told(), at_once=3)
    assert (level.conversations, level.turns, level.good) == (3, 6, 6)
    assert len(server.keys) == 3


@on_simulated_time
async def test_without_a_connection_there_is_no_measurement() -> None:
    with pytest.raises(StartupError, match="no realtime connection"):
        await warm_up(Options(url="http://127.0.0.1:9/v1"), TALK, "omni", SAID)


def test_speech_ends_where_it_is_quiet() -> None:
    assert speech_end(SAID.samples) == RATE_HZ
    assert speech_end(np.zeros(RATE_HZ, np.int16)) == 0
    assert speech_end(np.zeros(0, np.int16)) == 0


def test_recordings_are_what_the_user_says(tmp_path: Path) -> None:
    (tmp_path / "hello.wav").write_bytes(wav_file(SAID.samples.tobytes(), RATE_HZ))
    (tmp_path / "none.wav").write_bytes(wav_file(bytes(RATE_HZ), RATE_HZ))
    options = Options(url="", workload=Workload(recordings=(tmp_path / "hello.wav",)))
    ((found,),) = make_utterances(options, TALK)
    assert (found.kind, found.speech_end_s) == ("hello.wav", 1.0)
    silent = replace(options, workload=Workload(recordings=(tmp_path / "none.wav",)))
    with pytest.raises(StartupError, match="is silent"):
        make_utterances(silent, TALK)


def test_questions_have_the_length_asked_for() -> None:
    made = make_utterances(Options(url=""), replace(TALK, utterances_s=(2.0, 10.0)))
    for seconds, kind in zip((2.0, 10.0), made, strict=True):
        for one in kind:
            assert one.kind == f"{seconds:g} s"
            assert one.speech_end_s == pytest.approx(seconds, rel=0.2)


def test_flags_are_read() -> None:
    url = "http://127.0.0.1:8000"
    assert read_options([url]).realtime is None
    asked = read_options([url, "--realtime", "--turns", "3", "--utterance-seconds", "1,2"]).realtime
    assert asked == RealtimeOptions(turns=3, utterances_s=(1.0, 2.0))
    assert read_options([url, "--realtime"]).requests is None
    with pytest.raises(SystemExit):
        read_options([url, "--realtime", "--rate", "1"])
