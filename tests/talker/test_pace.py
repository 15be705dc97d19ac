"""The Talker's book of streams: what the engine tells it, and what comes out as a plan."""

from __future__ import annotations

import pytest

from antiphon_executor.interface.playback import seconds_of
from antiphon_executor.scheduling.deadline import DeadlineRules, first_come
from antiphon_executor.scheduling.startup_buffer import opening_frames, opening_s
from antiphon_executor.scheduling.stream_book import Candidate, TalkerPace

RULES = DeadlineRules()


def known_machine(pace: TalkerPace, largest: int = 8, per_stream_s: float = 0.008) -> TalkerPace:
    for streams in range(1, largest + 1):
        for _ in range(30):
            pace.measured(streams, 0, 0.004 + per_stream_s * streams)
    return pace


def playing(pace: TalkerPace, key: str, frames: int, now_s: float) -> Candidate:
    pace.opened(key, now_s, live=True)
    pace.plan(now_s, [Candidate(key, 0, ready=True)])
    pace.made(key, now_s, frames)
    return Candidate(key, 0, ready=True)


def test_a_stream_whose_client_stands_still_comes_to_rest_and_wakes_when_it_goes_on() -> None:
    pace = known_machine(TalkerPace(RULES))
    stream = playing(pace, "a", frames=150, now_s=0.0)
    pace.taken("a", 0.0, 1.0)
    assert pace.plan(20.0, [stream]).parked == {"a"}
    assert pace.parked == 1
    pace.taken("a", 20.0, seconds_of(150))
    assert pace.plan(20.0 + 8.0, [stream]).run == ("a",)
    assert pace.parked == 0


def test_a_stream_that_waits_for_text_keeps_its_place() -> None:
    """Given sessions between their chunks, of whom the engine does not speak: nobody is let in instead."""
    pace = known_machine(TalkerPace(RULES), largest=12)
    for number in range(9):
        playing(pace, str(number), frames=40, now_s=0.0)
    pace.opened("new", 0.0, live=True)
    new = Candidate("new", 30, ready=True)
    assert pace.plan(0.1, [new]).run == ()
    for number in range(9):
        pace.closed(str(number))
    assert pace.plan(0.1, [new]).run == ("new",)


def test_first_come_first_served_runs_everybody_who_can() -> None:
    pace = known_machine(TalkerPace(RULES, first_come))
    streams = [playing(pace, str(number), frames=200, now_s=0.0) for number in range(12)]
    assert len(pace.plan(0.1, streams).run) == 12


def test_what_is_left_of_a_closed_stream_is_how_its_client_fared() -> None:
    pace = TalkerPace(RULES)
    playing(pace, "a", frames=10, now_s=0.0)
    assert pace.made("a", 0.5, 11) > 0
    assert pace.made("a", 5.0, 12) == 0.0
    assert pace.closed("a").underruns == 1


def test_the_server_hears_what_steps_take_and_how_many_streams_that_is() -> None:
    """8 ms a stream and 4 ms besides: 8 streams take 68 ms, and 9 would leave no tenth of real time free."""
    pace = TalkerPace(RULES)
    assert pace.told(16, 0.0) is None
    told = known_machine(pace, largest=4).told(16, 0.0)
    assert told is not None
    assert told.step_s == pytest.approx((0.012, 0.020, 0.028, 0.036), abs=2e-4)
    assert told.live_streams == 8
    assert known_machine(pace, largest=4).told(3, 0.0).live_streams == 3  # type: ignore[union-attr]


def test_a_client_begins_with_one_frame_where_steps_are_short_and_with_more_where_they_are_long() -> None:
    """Given a step of everybody that takes longer than a first frame plays: the second is waited for."""
    alone = known_machine(TalkerPace(RULES))
    playing(alone, "a", frames=1, now_s=0.0)
    assert alone.opening_s < seconds_of(1)
    assert alone.closed("a").started
    crowd = known_machine(TalkerPace(RULES))
    for number in range(7):
        playing(crowd, str(number), frames=40, now_s=0.0)
    playing(crowd, "new", frames=1, now_s=0.0)
    assert seconds_of(1) < crowd.opening_s < seconds_of(2)
    crowd.made("new", 0.05, 2)
    assert crowd.closed("new").buffered_s(0.05) == pytest.approx(seconds_of(2))


@pytest.mark.parametrize(("step_ms", "frames"), [(20, 1), (30, 1), (45, 2), (60, 2), (80, 3), (300, 4)])
def test_an_opening_is_longer_than_a_step_and_more_so_where_nothing_is_left_to_catch_up(
    step_ms: int, frames: int
) -> None:
    assert opening_frames(step_ms / 1e3) == frames
    assert opening_s(step_ms / 1e3) <= seconds_of(frames)


def test_what_is_less_than_an_opening_is_let_go_after_as_long_as_that() -> None:
    """Given a second frame that comes late: the client has played from when the server let the first go."""
    pace = known_machine(TalkerPace(RULES))
    for number in range(7):
        playing(pace, str(number), frames=40, now_s=0.0)
    playing(pace, "new", frames=1, now_s=0.0)
    late_s = pace.opening_s + 0.01
    pace.made("new", late_s, 2)
    assert pace.closed("new").buffered_s(late_s) == pytest.approx(seconds_of(2) - 0.01)


def test_a_client_whose_socket_has_taken_something_plays_however_little_it_has() -> None:
    pace = known_machine(TalkerPace(RULES))
    for number in range(7):
        playing(pace, str(number), frames=40, now_s=0.0)
    playing(pace, "new", frames=1, now_s=0.0)
    pace.taken("new", 0.01, seconds_of(1))
    assert pace.closed("new").started


def test_there_is_room_for_no_more_while_somebody_has_less_in_hand_than_it_began_with() -> None:
    """Given steps that leave room for eight, three streams, and one of them that does not get ahead."""
    pace = known_machine(TalkerPace(RULES))
    streams = [playing(pace, str(number), frames=40, now_s=0.0) for number in range(2)]
    streams.append(playing(pace, "short", frames=8, now_s=0.0))
    pace.plan(0.58, streams)
    told = pace.told(16, 0.58)
    assert told is not None
    assert told.live_streams == 3
    pace.made("short", 0.58, 20)
    told = pace.told(16, 0.58)
    assert told is not None
    assert told.live_streams == 8


@pytest.mark.parametrize("idle_s", [61.0, 7_200.0])
def test_after_an_idle_time_the_next_steps_say_how_many_streams_there_is_room_for(idle_s: float) -> None:
    """A slow moment kept streams out for as long as none ran, and a fast one let too many in."""
    for before_s, after_s in ((0.1, 0.004), (0.004, 0.1)):
        pace = known_machine(TalkerPace(RULES), per_stream_s=before_s)
        playing(pace, "a", frames=2, now_s=100.0)
        pace.closed("a")
        known = pace.told(8, 100.0)
        playing(pace, "b", frames=2, now_s=100.0 + idle_s)
        for _ in range(12):
            pace.measured(1, 0, 0.004 + after_s)
        told = pace.told(8, 101.0 + idle_s)
        assert known is not None
        assert told is not None
        assert known.live_streams < 2 <= told.live_streams if after_s < before_s else told.live_streams < 2


def test_a_short_pause_forgets_nothing() -> None:
    pace = known_machine(TalkerPace(RULES))
    playing(pace, "a", frames=2, now_s=100.0)
    pace.closed("a")
    known = pace.times
    playing(pace, "b", frames=2, now_s=150.0)
    assert pace.times == known
