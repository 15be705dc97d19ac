"""The virtual player: only a packet that arrives too late is an underrun."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.bench.measure.player import Playback, Player

# Whole milliseconds keep the arithmetic exact enough to compare.
MS = st.integers(0, 500).map(lambda ms: ms / 1000)
PACKETS = st.lists(st.tuples(MS, MS), min_size=1, max_size=30)


def play(packets: list[tuple[float, float]], start_buffer_s: float = 0.0) -> Playback:
    """`packets`: seconds since the previous packet, seconds of audio."""
    player = Player(start_buffer_s)
    for at, (_, audio_s) in zip(accumulate(gap for gap, _ in packets), packets, strict=True):
        player.add_packet(at, audio_s)
    return player.to_playback()


def test_packets_in_time_leave_no_underrun() -> None:
    heard = play([(0.3, 0.08), (0.08, 0.08), (0.05, 0.08)])
    assert (heard.underruns, heard.underrun_s, heard.packets) == (0, 0.0, 3)
    assert heard.heard_s == pytest.approx(0.24)
    assert heard.least_slack_s == pytest.approx(0.0, abs=1e-9)


def test_a_late_packet_is_one_underrun_of_just_its_lateness() -> None:
    heard = play([(0.3, 0.08), (0.2, 0.08), (0.08, 0.08)])
    assert heard.underruns == 1
    assert heard.underrun_s == pytest.approx(0.12)
    assert heard.least_slack_s == pytest.approx(-0.12)


def test_a_start_buffer_hides_an_underrun_that_is_shorter() -> None:
    packets = [(0.0, 0.08), (0.08, 0.08), (0.2, 0.08)]
    assert play(packets).underrun_s == pytest.approx(0.12)
    assert play(packets, 0.16).underrun_s == pytest.approx(0.04)
    assert play(packets, 0.20).underruns == 0


def test_a_stream_shorter_than_the_start_buffer_has_no_underrun() -> None:
    assert play([(0.0, 0.08), (5.0, 0.08)], 1.0).underruns == 0


@given(PACKETS, MS)
def test_the_total_underrun_is_the_worst_lateness(
    packets: list[tuple[float, float]], start_buffer_s: float
) -> None:
    """Lindley's recursion, unrolled: a player that resumes at once has paused for as long as the latest
    packet is behind the schedule of the start.
    """
    at = list(accumulate(gap for gap, _ in packets))
    before = [0.0, *accumulate(audio_s for _, audio_s in packets)]
    filled = next((i for i in range(len(at)) if before[i + 1] >= start_buffer_s), None)
    late = [0.0] if filled is None else [at[i] - at[filled] - before[i] for i in range(filled + 1, len(at))]
    heard = play(packets, start_buffer_s)
    assert heard.underrun_s == pytest.approx(max([0.0, *late]), abs=1e-6)
    assert (heard.underruns > 0) == (heard.underrun_s > 0)


@given(PACKETS)
def test_more_start_buffer_is_never_worse(packets: list[tuple[float, float]]) -> None:
    holes_s = [play(packets, buffer_s).underrun_s for buffer_s in (0.0, 0.1, 0.2, 0.5)]
    assert all(late <= early + 1e-6 for early, late in pairwise(holes_s))


@given(PACKETS)
def test_a_packet_in_two_halves_is_the_same_packet(packets: list[tuple[float, float]]) -> None:
    halves = [half for gap, audio_s in packets for half in ((gap, audio_s / 2), (0.0, audio_s / 2))]
    whole, split = play(packets), play(halves)
    assert split.underrun_s == pytest.approx(whole.underrun_s, abs=1e-6)
    assert split.underruns == whole.underruns
    assert split.heard_s == pytest.approx(whole.heard_s)


def test_an_underrun_says_how_long_its_packet_was_waited_for() -> None:
    player = Player()
    for at_s, audio_s in ((1.0, 0.08), (1.05, 0.08), (1.25, 0.08), (1.3, 0.08)):
        player.add_packet(at_s, audio_s)
    (underrun,) = player.underruns
    assert (underrun.waited_since_s, underrun.ended_s) == (1.05, 1.25)
    assert underrun.seconds == pytest.approx(0.09)
