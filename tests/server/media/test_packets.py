"""Lengths are read from packets, not from headers."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.media.packets import read_packets

TEXT = b"""#extradata 0:       46, 0x34b10f92
#software: Lavf59.27.100
#tb 0: 1/12800
#media_type 0: video
#codec_id 0: h264
#dimensions 0: 320x240
#tb 1: 1/44100
#media_type 1: audio
0,       -512,        512,      512,     1523, 0x2f5ac0cc
1,      -1024,      -1024,     1024,       23, 0x5a1f0d45, S=1, Skip Samples,       10, 0x01470037
0,          0,       1536,      512,       93, 0x1e5e2b0a, F=0x0
0,        512,       1024,      512,       93, 0x1e5e2b0a
1,          0,          0,     1024,       23, 0x5a1f0d45
"""


def test_start_and_end_are_those_of_the_packets_in_time() -> None:
    packets = read_packets(TEXT)
    assert packets.start("video") == Fraction(512, 12_800)
    assert packets.end("video") == Fraction(2_048, 12_800)
    assert packets.start("audio") == Fraction(-1_024, 44_100)
    assert packets.end("audio") == Fraction(1_024, 44_100)
    assert packets.has("video")
    assert packets.has("audio")


def test_a_track_without_packets_is_not_there() -> None:
    packets = read_packets(TEXT[: TEXT.index(b"0,")])
    assert not packets.has("video")
    assert packets.end("video") == 0
    assert not read_packets(b"").has("audio")


@given(st.binary(max_size=200))
def test_no_text_upsets_the_reader(noise: bytes) -> None:
    assert read_packets(noise).end("video") >= 0
    assert read_packets(TEXT + b"\n" + noise).has("video")
    read_packets(b"#tb 0: " + noise + b"\n#media_type 0: video\n0, 1, 1, 1, 1, 0x0\n")
