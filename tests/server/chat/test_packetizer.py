"""Packets of speech: single frames at first, longer packets as the client's buffered audio grows."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon_server.chat.response.packetizer import Packetizer
from antiphon_server.config.chat import PacketRules
from tests.examples import examples

RULES = PacketRules()
FRAME = bytes(3_840)
FRAME_S = 0.08
FIRST = bytes(2 * (1_920 - 555))


@dataclass(frozen=True)
class Heard:
    """`sends`: (when, seconds). `underruns`: (from, to) of each stall of the player."""

    sends: list[tuple[float, float]]
    underruns: list[tuple[float, float]]
    pcm: bytes


def play(sends: list[tuple[float, bytes]]) -> Heard:
    """A player that starts at once, plays in real time, and stalls when it has played everything."""
    ends_s: float | None = None
    underruns: list[tuple[float, float]] = []
    for now_s, pcm in sends:
        if ends_s is not None and now_s > ends_s + 1e-9:
            underruns.append((ends_s, now_s))
        ends_s = (now_s if ends_s is None else max(ends_s, now_s)) + len(pcm) / 48_000
    return Heard([(at, len(pcm) / 48_000) for at, pcm in sends], underruns, b"".join(pcm for _, pcm in sends))


def through_packetizer(arrivals: list[tuple[float, bytes]]) -> Heard:
    """What a server sends that polls the packetizer at every frame and whenever it is due."""
    packetizer, sends = Packetizer(RULES), list[tuple[float, bytes]]()

    def look(now_s: float) -> None:
        if pcm := packetizer.pop_packet(now_s):
            sends.append((now_s, pcm))
            packetizer.packet_sent(now_s, pcm)

    now_s = 0.0
    for at_s, pcm in arrivals:
        while (due_s := packetizer.due_in_s(now_s)) is not None and now_s + due_s < at_s:
            now_s += due_s
            look(now_s)
        now_s = at_s
        packetizer.add_pcm(pcm, now_s)
        look(now_s)
    if rest := packetizer.flush():
        sends.append((now_s, rest))
    return play(sends)


def steady(frames: int, every_s: float) -> list[tuple[float, bytes]]:
    return [(every_s * i, FRAME if i else FIRST) for i in range(frames)]


def test_the_first_frame_goes_out_alone_and_at_once() -> None:
    heard = through_packetizer(steady(10, 0.02))
    assert heard.sends[0] == (0.0, pytest.approx(0.056875))


def test_packets_grow_with_the_clients_buffered_audio_up_to_the_longest() -> None:
    """Given speech made at four times real time: one frame, then more and more, never above the bound."""
    lengths = [seconds for _, seconds in through_packetizer(steady(200, 0.02)).sends[:-1]]
    frames = [round(seconds / FRAME_S) for seconds in lengths]
    assert frames[:3] == [1, 1, 1]
    assert frames == sorted(frames)
    assert frames[-1] == 8
    assert max(lengths) <= RULES.longest_s + 1e-9


def test_speech_that_piled_up_goes_out_in_packets_of_the_longest_length() -> None:
    """Given 40 frames at once, as after a client that stalled."""
    heard = through_packetizer([(0.0, FIRST), *((1.0, FRAME) for _ in range(40))])
    assert max(seconds for _, seconds in heard.sends[:-1]) <= RULES.longest_s + 1e-9
    assert len(heard.pcm) == len(FIRST) + 40 * len(FRAME)


def test_speech_made_just_in_time_goes_out_frame_by_frame() -> None:
    heard = through_packetizer(steady(50, 0.079))
    assert len(heard.sends) == 50


def test_hundreds_of_streams_are_hundreds_of_events_a_second_and_not_thousands() -> None:
    """Given 60 s of speech made at three times real time: fewer than two events a second of it."""
    assert len(through_packetizer(steady(750, 0.027)).sends) < 2 * 60


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.01, 0.03, 0.08, 0.2, 0.7]) | st.floats(0, 1), min_size=1, max_size=80)
)
def test_a_client_has_underruns_exactly_where_it_would_with_single_frames(gaps: list[float]) -> None:
    arrivals, now_s = [], 0.0
    for number, gap_s in enumerate(gaps):
        now_s += gap_s
        arrivals.append((now_s, FRAME if number else FIRST))
    singly, packed = play(arrivals), through_packetizer(arrivals)
    assert packed.pcm == singly.pcm
    assert [at for underruns in packed.underruns for at in underruns] == pytest.approx(
        [at for underruns in singly.underruns for at in underruns]
    )


@given(st.lists(st.floats(0, 0.3), min_size=1, max_size=60))
def test_nothing_waits_longer_than_the_client_can(gaps: list[float]) -> None:
    packetizer, now_s = Packetizer(RULES), 0.0
    for gap_s in gaps:
        now_s += gap_s
        packetizer.add_pcm(FRAME, now_s)
        if pcm := packetizer.pop_packet(now_s):
            packetizer.packet_sent(now_s, pcm)
        due_s = packetizer.due_in_s(now_s)
        assert due_s is None or packetizer.buffered_s(now_s) - due_s >= RULES.reserve_s - 1e-9


def test_an_opening_is_waited_for_but_no_longer_than_it_is_long() -> None:
    """Given a startup buffer of 0.1 s: one frame is held, and goes with the second, or alone 0.1 s later."""
    packetizer = Packetizer(RULES, lambda: 0.1)
    assert packetizer.due_in_s(0.0) is None
    packetizer.add_pcm(FIRST, 0.0)
    assert packetizer.pop_packet(0.0) == b""
    assert packetizer.due_in_s(0.04) == pytest.approx(0.06)
    packetizer.add_pcm(FRAME, 0.05)
    assert packetizer.pop_packet(0.05) == FIRST + FRAME
    late = Packetizer(RULES, lambda: 0.1)
    late.add_pcm(FIRST, 0.0)
    assert late.pop_packet(0.099) == b""
    assert late.pop_packet(0.101) == FIRST
