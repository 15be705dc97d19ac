"""The model of a client's player: buffered audio, and underruns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.interface.playback import FRAME_S, REPORT_AGE_S, PlayHead, seconds_of


def test_the_first_frame_is_as_much_shorter_as_the_vocoder_looks_ahead() -> None:
    assert seconds_of(0) == 0.0
    assert seconds_of(1) == pytest.approx((1_920 - 555) / 24_000)
    assert seconds_of(5) - seconds_of(4) == pytest.approx(FRAME_S)


def test_a_player_begins_with_the_first_sound_and_runs_in_real_time() -> None:
    head = PlayHead().generated(10.0, 1.0)
    assert head.started
    assert head.buffered_s(10.25) == pytest.approx(0.75)
    assert head.buffered_s(12.0) == 0.0


def test_an_underrunning_player_stalls_until_there_is_more() -> None:
    head = PlayHead().generated(0.0, 1.0).generated(1.5, 1.2)
    assert (head.underruns, head.underrun_s) == (1, pytest.approx(0.5))
    assert head.buffered_s(1.5) == pytest.approx(0.2)


def test_a_client_cannot_have_played_what_it_has_not_consumed() -> None:
    """Given a paused client: its buffer stops shrinking, and grows with new frames."""
    head = PlayHead().generated(0.0, 4.0).consumed(0.1, 0.5)
    assert head.buffered_s(3.0) == pytest.approx(3.5 - REPORT_AGE_S)
    assert head.generated(3.1, 5.0).buffered_s(3.1) == pytest.approx(4.5 - REPORT_AGE_S)
    assert head.underruns == 0


def test_a_client_that_goes_on_is_where_it_stood() -> None:
    """Given a pause of three seconds: afterwards the client still has all that it had not played before, but
    for what it can have played before it was known to stand.
    """
    head = PlayHead().generated(0.0, 4.0).consumed(0.0, 1.0).consumed(4.0, 4.0)
    assert head.buffered_s(4.0) == pytest.approx(3.0 - REPORT_AGE_S)
    assert head.buffered_s(5.0) == pytest.approx(2.0 - REPORT_AGE_S)


def test_news_of_a_socket_are_old_and_a_client_has_played_on_since() -> None:
    """A client has consumed two frames and has reported one: it plays the second as well."""
    head = PlayHead().generated(0.0, seconds_of(2)).consumed(0.0, seconds_of(1))
    assert head.buffered_s(0.12) == pytest.approx(seconds_of(2) - 0.12)


def test_a_client_that_has_consumed_everything_underruns() -> None:
    head = PlayHead().generated(0.0, 1.0).consumed(0.0, 1.0).generated(1.25, 2.0)
    assert (head.underruns, head.underrun_s) == (1, pytest.approx(0.25))


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.floats(0.01, 0.2)), min_size=1, max_size=40),
    st.lists(st.floats(0, 3), max_size=5),
)
def test_the_lead_is_never_more_than_what_was_made_nor_less_than_nothing(
    pieces: list[tuple[float, float]], taken: list[float]
) -> None:
    head, now_s, generated_s = PlayHead(), 0.0, 0.0
    for gap_s, seconds in pieces:
        now_s += gap_s
        generated_s += seconds
        head = head.generated(now_s, generated_s)
        assert seconds - 1e-9 <= head.buffered_s(now_s) <= generated_s + 1e-9
    for seconds in taken:
        head = head.consumed(now_s, seconds)
        now_s += 0.3
        assert -1e-9 <= head.buffered_s(now_s) <= generated_s + 1e-9
