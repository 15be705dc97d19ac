"""The Talker's book of streams: the events that it records, and the plans that it makes."""

from __future__ import annotations

import pytest

from antiphon_executor.interface.playback import seconds_of
from antiphon_executor.scheduling.deadline import first_come_first_served
from antiphon_executor.scheduling.startup_buffer import startup_buffer_frames, startup_buffer_s
from antiphon_executor.scheduling.step_plan import PacingRules
from antiphon_executor.scheduling.stream_book import Candidate, StreamBook

RULES = PacingRules()


def known_machine(book: StreamBook, largest: int = 8, per_stream_s: float = 0.008) -> StreamBook:
    for streams in range(1, largest + 1):
        for _ in range(30):
            book.step_measured(streams, 0, 0.004 + per_stream_s * streams)
    return book


def playing(book: StreamBook, key: str, frames: int, now_s: float) -> Candidate:
    book.add_stream(key, now_s, live=True)
    book.plan(now_s, [Candidate(key, 0, ready=True)])
    book.frames_generated(key, now_s, frames)
    return Candidate(key, 0, ready=True)


def test_a_stream_pauses_while_its_client_does_and_resumes_with_it() -> None:
    book = known_machine(StreamBook(RULES))
    stream = playing(book, "a", frames=150, now_s=0.0)
    book.client_consumed("a", 0.0, 1.0)
    assert book.plan(20.0, [stream]).paused == {"a"}
    assert book.paused == 1
    book.client_consumed("a", 20.0, seconds_of(150))
    assert book.plan(20.0 + 8.0, [stream]).run == ("a",)
    assert book.paused == 0


def test_a_stream_that_waits_for_text_keeps_its_place() -> None:
    """Given sessions between their chunks, which are no candidates: no new stream replaces them."""
    book = known_machine(StreamBook(RULES), largest=12)
    for number in range(9):
        playing(book, str(number), frames=40, now_s=0.0)
    book.add_stream("new", 0.0, live=True)
    new = Candidate("new", 30, ready=True)
    assert book.plan(0.1, [new]).run == ()
    for number in range(9):
        book.remove_stream(str(number))
    assert book.plan(0.1, [new]).run == ("new",)


def test_first_come_first_served_runs_every_ready_stream() -> None:
    book = known_machine(StreamBook(RULES, first_come_first_served))
    streams = [playing(book, str(number), frames=200, now_s=0.0) for number in range(12)]
    assert len(book.plan(0.1, streams).run) == 12


def test_removing_a_stream_returns_its_playback() -> None:
    book = StreamBook(RULES)
    playing(book, "a", frames=10, now_s=0.0)
    assert book.frames_generated("a", 0.5, 11) > 0
    assert book.frames_generated("a", 5.0, 12) == 0.0
    assert book.remove_stream("a").underruns == 1


def test_the_report_has_step_times_and_the_number_of_streams_that_they_sustain() -> None:
    """8 ms per stream plus 4 ms: 8 streams take 68 ms, and 9 would leave less than 10 % of real time."""
    book = StreamBook(RULES)
    assert book.step_times_report(16, 0.0) is None
    told = known_machine(book, largest=4).step_times_report(16, 0.0)
    assert told is not None
    assert told.step_s == pytest.approx((0.012, 0.020, 0.028, 0.036), abs=2e-4)
    assert told.live_stream_limit == 8
    assert known_machine(book, largest=4).step_times_report(3, 0.0).live_stream_limit == 3  # type: ignore[union-attr]


def test_a_client_starts_with_one_frame_if_steps_are_short_and_with_more_if_they_are_long() -> None:
    """Given a full step longer than the first frame: playback waits for the second frame."""
    alone = known_machine(StreamBook(RULES))
    playing(alone, "a", frames=1, now_s=0.0)
    assert alone.startup_buffer_s < seconds_of(1)
    assert alone.remove_stream("a").started
    crowd = known_machine(StreamBook(RULES))
    for number in range(7):
        playing(crowd, str(number), frames=40, now_s=0.0)
    playing(crowd, "new", frames=1, now_s=0.0)
    assert seconds_of(1) < crowd.startup_buffer_s < seconds_of(2)
    crowd.frames_generated("new", 0.05, 2)
    assert crowd.remove_stream("new").buffered_s(0.05) == pytest.approx(seconds_of(2))


@pytest.mark.parametrize(("step_ms", "frames"), [(20, 1), (30, 1), (45, 2), (60, 2), (80, 3), (300, 4)])
def test_a_startup_buffer_is_longer_than_a_step_and_more_so_for_slow_steps(step_ms: int, frames: int) -> None:
    assert startup_buffer_frames(step_ms / 1e3) == frames
    assert startup_buffer_s(step_ms / 1e3) <= seconds_of(frames)


def test_less_than_a_startup_buffer_is_released_after_that_time() -> None:
    """Given a late second frame: the client has played since the server released the first."""
    book = known_machine(StreamBook(RULES))
    for number in range(7):
        playing(book, str(number), frames=40, now_s=0.0)
    playing(book, "new", frames=1, now_s=0.0)
    late_s = book.startup_buffer_s + 0.01
    book.frames_generated("new", late_s, 2)
    assert book.remove_stream("new").buffered_s(late_s) == pytest.approx(seconds_of(2) - 0.01)


def test_a_client_whose_socket_has_consumed_anything_plays() -> None:
    book = known_machine(StreamBook(RULES))
    for number in range(7):
        playing(book, str(number), frames=40, now_s=0.0)
    playing(book, "new", frames=1, now_s=0.0)
    book.client_consumed("new", 0.01, seconds_of(1))
    assert book.remove_stream("new").started


def test_no_further_stream_fits_while_one_has_less_than_its_startup_buffer() -> None:
    """Given steps that leave room for eight, three streams, and one of them that does not get ahead."""
    book = known_machine(StreamBook(RULES))
    streams = [playing(book, str(number), frames=40, now_s=0.0) for number in range(2)]
    streams.append(playing(book, "short", frames=8, now_s=0.0))
    book.plan(0.58, streams)
    told = book.step_times_report(16, 0.58)
    assert told is not None
    assert told.live_stream_limit == 3
    book.frames_generated("short", 0.58, 20)
    told = book.step_times_report(16, 0.58)
    assert told is not None
    assert told.live_stream_limit == 8


@pytest.mark.parametrize("idle_s", [61.0, 7_200.0])
def test_after_an_idle_time_the_next_steps_decide_how_many_streams_fit(idle_s: float) -> None:
    """A slow moment once blocked streams while none ran, and a fast one admitted too many."""
    for before_s, after_s in ((0.1, 0.004), (0.004, 0.1)):
        book = known_machine(StreamBook(RULES), per_stream_s=before_s)
        playing(book, "a", frames=2, now_s=100.0)
        book.remove_stream("a")
        known = book.step_times_report(8, 100.0)
        playing(book, "b", frames=2, now_s=100.0 + idle_s)
        for _ in range(12):
            book.step_measured(1, 0, 0.004 + after_s)
        told = book.step_times_report(8, 101.0 + idle_s)
        assert known is not None
        assert told is not None
        limits = (known.live_stream_limit, told.live_stream_limit)
        assert (limits[0] < 2 <= limits[1]) if after_s < before_s else limits[1] < 2


def test_a_short_pause_forgets_nothing() -> None:
    book = known_machine(StreamBook(RULES))
    playing(book, "a", frames=2, now_s=100.0)
    book.remove_stream("a")
    known = book.times
    playing(book, "b", frames=2, now_s=150.0)
    assert book.times == known


def with_slow_steps(book: StreamBook, share: int, slow_s: float) -> StreamBook:
    """After 1,000 usual steps of two streams, and one in `share` that takes `slow_s`."""
    for number in range(1_000):
        book.step_measured(2, 0, slow_s if number % share == 0 else 0.020)
    for _ in range(60):
        book.step_measured(2, 0, 0.020)
    return book


def test_the_startup_buffer_covers_the_slow_steps_of_the_last_minutes() -> None:
    """Given steps of 20 ms of which one in a hundred takes 60 ms. The mean of the last steps shows none."""
    calm, restless = known_machine(StreamBook(RULES)), known_machine(StreamBook(RULES))
    with_slow_steps(calm, share=10_000, slow_s=0.060)
    with_slow_steps(restless, share=100, slow_s=0.060)
    for book in (calm, restless):
        playing(book, "a", frames=1, now_s=0.0)
    assert calm.startup_buffer_s < seconds_of(1)
    assert 0.060 < restless.startup_buffer_s < seconds_of(2)
    assert calm.remove_stream("a").started
    assert not restless.remove_stream("a").started


def test_a_client_starts_by_the_startup_buffer_that_was_reported() -> None:
    """The server holds back what the last report says. A step that changes it changes nothing for the frame
    that the server sends after that step.
    """
    book = known_machine(StreamBook(RULES))
    book.add_stream("a", 0.0, live=True)
    book.plan(0.0, [Candidate("a", 0, ready=True)])
    told = book.step_times_report(16, 0.0)
    assert told is not None
    assert told.startup_buffer_s < seconds_of(1)
    for _ in range(30):
        book.step_measured(1, 0, 0.070)
    book.frames_generated("a", 0.07, 1)
    assert book.urgent_s(book.plan(0.07, [Candidate("a", 0, ready=True)]), 0.07) > 0.0
    assert book.remove_stream("a").started


def test_admission_counts_with_slow_steps_and_not_with_the_mean() -> None:
    """Given 8 ms per stream plus 4 ms: eight take 68 ms; with one step in ten 20 ms longer, six do."""
    book = known_machine(StreamBook(RULES))
    for number in range(1_000):
        book.step_measured(2, 0, 0.040 if number % 10 == 0 else 0.020)
    for _ in range(60):
        book.step_measured(2, 0, 0.020)
    told = book.step_times_report(16, 0.0)
    assert told is not None
    assert told.live_stream_limit == 6


def test_a_step_in_which_a_stream_starts_is_urgent() -> None:
    book = known_machine(StreamBook(RULES))
    stream = playing(book, "a", frames=40, now_s=0.0)
    calm = book.plan(0.1, [stream])
    assert calm.run == ("a",)
    assert not book.starts_in(calm)
    assert book.urgent_s(calm, 0.1) == 0.0
    book.add_stream("new", 0.1, live=True)
    plan = book.plan(0.1, [stream, Candidate("new", 30, ready=True)])
    assert "new" in plan.run
    assert book.starts_in(plan)
    assert book.urgent_s(plan, 0.1) == pytest.approx(0.020, rel=0.2)


def test_a_prompt_computed_ahead_of_its_text_is_not_urgent_and_keeps_the_streams_place() -> None:
    book = known_machine(StreamBook(RULES))
    book.add_stream("new", 0.0, live=True, primed=False)
    plan = book.plan(0.0, [Candidate("new", 30, ready=True)])
    assert plan.run == ("new",)
    assert not book.starts_in(plan)
    assert book.urgent_s(plan, 0.0) == 0.0
    book.prompt_computed("new")
    assert book.plan(0.1, [Candidate("new", 0, ready=False)]).run == ()
    plan = book.plan(0.2, [Candidate("new", 3, ready=True)])
    assert plan.run == ("new",)
    assert book.starts_in(plan)


def test_a_start_is_not_urgent_while_another_stream_waits_for_the_text_of_its_own() -> None:
    """The Thinker would wait for the first, and the second for the Thinker."""
    book = known_machine(StreamBook(RULES))
    for key in ("first", "second"):
        book.add_stream(key, 0.0, live=True)
    first, second = Candidate("first", 3, ready=True), Candidate("second", 3, ready=False)
    plan = book.plan(0.0, [first, second])
    assert book.starts_in(plan)
    assert book.urgent_s(plan, 0.0) == 0.0
    book.remove_stream("second")
    assert book.urgent_s(book.plan(0.0, [first]), 0.0) > 0.0


def test_a_step_is_urgent_while_a_client_has_little_audio() -> None:
    book = known_machine(StreamBook(RULES))
    stream = playing(book, "a", frames=2, now_s=0.0)
    assert book.urgent_s(book.plan(0.05, [stream]), 0.05) == 0.0
    assert book.urgent_s(book.plan(0.12, [stream]), 0.12) > 0.0


def test_a_batch_request_is_never_urgent() -> None:
    book = known_machine(StreamBook(RULES))
    book.add_stream("batch", 0.0, live=False)
    plan = book.plan(0.0, [Candidate("batch", 30, ready=True)])
    assert plan.run == ("batch",)
    assert not book.starts_in(plan)
    assert book.urgent_s(plan, 0.0) == 0.0
