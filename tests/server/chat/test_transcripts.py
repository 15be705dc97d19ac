"""Transcripts of spoken answers: found by id, bounded in number, size and time."""

from __future__ import annotations

import pytest

from antiphon_server.chat.transcripts import Transcripts
from antiphon_server.config.chat import ChatPolicy

pytestmark = pytest.mark.promise("R31")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_transcript_is_found_until_it_expires() -> None:
    clock = Clock()
    transcripts = Transcripts(ChatPolicy(transcript_s=60), clock)
    transcripts.keep("audio_1", "hello")
    clock.now = 59
    assert transcripts.find("audio_1") == "hello"
    clock.now = 61
    assert transcripts.find("audio_1") is None


def test_the_oldest_make_room_for_the_newest() -> None:
    transcripts = Transcripts(ChatPolicy(transcripts=2))
    for number in range(3):
        transcripts.keep(f"audio_{number}", "x")
    assert [transcripts.find(f"audio_{number}") for number in range(3)] == [None, "x", "x"]


def test_memory_is_bounded_in_bytes_of_utf8() -> None:
    transcripts = Transcripts(ChatPolicy(transcript_bytes=100))
    for number in range(1_000):
        transcripts.keep(f"a{number}", "ü" * 20)
    assert sum(transcripts.find(f"a{number}") is not None for number in range(1_000)) == 2


def test_a_transcript_that_is_too_large_is_not_kept() -> None:
    transcripts = Transcripts(ChatPolicy(transcript_bytes=10))
    transcripts.keep("a", "x" * 100)
    assert transcripts.find("a") is None
