"""Turns from probabilities: where speech begins and ends, and what is kept of it."""

from __future__ import annotations

import pytest

from antiphon_server.openai_api.realtime.session import SemanticVad, ServerVad
from antiphon_server.realtime.audio.turn_detector import (
    FRAME,
    SpeechStarted,
    SpeechStopped,
    TurnDetector,
    turn_rule,
)

MS = 16


def run(detector: TurnDetector, *probabilities: tuple[float, int]) -> list[SpeechStarted | SpeechStopped]:
    """`probabilities`: each with its number of frames."""
    found = (detector.add_frame(p) for p, frames in probabilities for _ in range(frames))
    return [event for event in found if event is not None]


@pytest.fixture
def detector() -> TurnDetector:
    return TurnDetector(turn_rule(ServerVad(type="server_vad"), 30.0))


def test_three_frames_of_speech_begin_a_turn_with_the_padding_before_it(detector: TurnDetector) -> None:
    assert run(detector, (0.0, 40), (0.9, 2), (0.1, 1)) == []
    (started,) = run(detector, (0.9, 3))
    assert started == SpeechStarted(start=43 * FRAME - 300 * MS, at=46 * FRAME)


def test_the_padding_never_begins_before_the_input(detector: TurnDetector) -> None:
    (started,) = run(detector, (0.9, 3))
    assert started.start == 0


def test_silence_ends_it_and_200_ms_of_it_are_kept(detector: TurnDetector) -> None:
    *_, stopped = run(detector, (0.9, 30), (0.1, 16))
    assert isinstance(stopped, SpeechStopped)
    assert (stopped.speech_end, stopped.end) == (30 * FRAME, 30 * FRAME + 200 * MS)
    assert not detector.speaking


def test_a_short_pause_does_not_end_it(detector: TurnDetector) -> None:
    assert len(run(detector, (0.9, 30), (0.1, 14), (0.9, 5), (0.1, 14))) == 1


def test_between_the_thresholds_neither_begins_nor_ends_anything(detector: TurnDetector) -> None:
    assert run(detector, (0.45, 50)) == []
    assert len(run(detector, (0.9, 10), (0.45, 100))) == 1


def test_the_next_turn_does_not_contain_the_one_before(detector: TurnDetector) -> None:
    *_, stopped = run(detector, (0.9, 30), (0.1, 16))
    (started,) = run(detector, (0.9, 3))
    assert isinstance(stopped, SpeechStopped)
    assert started.start >= stopped.end


def test_a_long_utterance_is_cut() -> None:
    detector = TurnDetector(turn_rule(ServerVad(type="server_vad"), 2.0))
    events = run(detector, (0.9, 127))
    assert [type(event) for event in events] == [SpeechStarted, SpeechStopped] * 2
    assert isinstance(events[1], SpeechStopped)
    assert events[1].end - events[1].start <= 2.0 * 16_000 + FRAME


@pytest.mark.parametrize(("eagerness", "ms"), [("low", 1_200), ("medium", 640), ("auto", 640), ("high", 320)])
def test_eagerness_chooses_the_silence(eagerness: str, ms: int) -> None:
    asked = SemanticVad(type="semantic_vad", eagerness=eagerness)
    assert turn_rule(asked, 30.0).silence == ms * MS


def test_what_may_still_be_needed_is_known(detector: TurnDetector) -> None:
    run(detector, (0.0, 100))
    assert detector.needed_from == 97 * FRAME - 300 * MS
    run(detector, (0.9, 3))
    assert detector.needed_from == 100 * FRAME - 300 * MS
