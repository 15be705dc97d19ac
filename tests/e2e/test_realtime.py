"""Spoken conversations over `/v1/realtime`: turns are heard, answered, interrupted and remembered."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from socket import SHUT_RDWR
from typing import Any

import numpy as np
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.e2e.server_process import RunningServer, becomes

pytestmark = pytest.mark.engine

Event = dict[str, Any]
RATE_HZ = 16_000
SILENCE = np.zeros(RATE_HZ, "<i2")
LISTENING = {"format": {"type": "audio/pcm", "rate": RATE_HZ}}
COUNTING = "Count from one to twenty."
READ_AHEAD = ("antiphon_realtime_tokens_read_ahead_total", "")
# Of the nano model's prefix cache, at most.
BLOCK_TOKENS = 256


def spoken(text: str) -> np.ndarray:
    """At 16 kHz, by a voice that the model may or may not know."""
    command = ["espeak-ng", "-v", "en-us", "-s", "155", "--stdout", text]
    wav = subprocess.run(command, check=True, capture_output=True, timeout=20).stdout
    samples = np.frombuffer(wav[44 : len(wav) - len(wav) % 2], "<i2")
    at = np.arange(int(len(samples) * RATE_HZ / 22_050)) * 22_050 / RATE_HZ
    return np.interp(at, np.arange(len(samples)), samples).astype("<i2")


SUMS = {
    "seven plus five": "twelve",
    "two plus three": "five",
    "six plus six": "twelve",
    "nine minus four": "five",
}


class Talk:
    """One connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))

    def say(self, samples: np.ndarray) -> None:
        for at in range(0, len(samples), RATE_HZ // 10):
            piece = samples[at : at + RATE_HZ // 10].tobytes()
            self.send("input_audio_buffer.append", audio=base64.b64encode(piece).decode())

    def until(self, kind: str) -> list[Event]:
        """All events up to the first of this type."""
        events: list[Event] = []
        while not events or events[-1]["type"] != kind:
            events.append(json.loads(self.socket.recv(60)))
            assert events[-1]["type"] != "error", events[-1]
        return events

    def write(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
        self.send("response.create")


@contextmanager
def talking(server: RunningServer, **session: Any) -> Iterator[Talk]:
    with connect(server.url.replace("http", "ws", 1) + "/v1/realtime", max_size=None) as socket:
        talk = Talk(socket)
        talk.send("session.update", session={"type": "realtime", "audio": {"input": LISTENING}, **session})
        yield talk


def joined(events: list[Event], kind: str) -> str:
    return "".join(event["delta"] for event in events if event["type"] == kind)


def test_turns_are_heard_and_answered_in_speech(nano_server: RunningServer) -> None:
    """Of four questions at least three rightly: the model's own accuracy is no subject here."""
    right = 0
    with talking(nano_server) as talk:
        for asked, answer in SUMS.items():
            talk.say(np.concatenate((SILENCE[:3_200], spoken(f"What is {asked}?"), SILENCE)))
            events = talk.until("response.done")
            kinds = [event["type"] for event in events]
            assert kinds.index("input_audio_buffer.speech_stopped") < kinds.index("response.created")
            done = events[-1]["response"]
            assert done["status"] == "completed"
            transcript = joined(events, "response.output_audio_transcript.delta")
            assert done["output"][0]["content"][0]["transcript"] == transcript
            assert len(base64.b64decode(joined(events, "response.output_audio.delta"))) > 24_000
            right += answer in transcript.lower()
    assert right >= 3


def test_speech_interrupts_and_the_next_turn_goes_on(nano_server: RunningServer) -> None:
    with talking(nano_server) as talk:
        talk.write(COUNTING)
        item_id = talk.until("response.output_audio.delta")[-1]["item_id"]
        talk.say(spoken("Please stop now."))
        events = talk.until("response.done")
        kinds = [event["type"] for event in events]
        started = kinds.index("input_audio_buffer.speech_started")
        assert "response.output_audio.delta" not in kinds[started:]
        assert events[-1]["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        talk.send("input_audio_buffer.clear")
        talk.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=0)
        talk.send("conversation.item.retrieve", item_id=item_id)
        (part,) = talk.until("conversation.item.retrieved")[-1]["item"]["content"]
        assert (part["transcript"], part["audio"]) == ("", "")
        talk.write("What is two plus three?")
        assert talk.until("response.done")[-1]["response"]["status"] == "completed"


def test_a_turn_reads_its_own_tokens_only(nano_server: RunningServer) -> None:
    """All before its last block is in the prefix cache, also what the model itself has said."""
    counted = []
    instructions = "Answer in a few words. " * 60
    with talking(nano_server, output_modalities=["text"], instructions=instructions) as talk:
        for turn in range(7):
            talk.write(f"{turn} " + "one two three four five six seven eight nine ten " * 6)
            usage = talk.until("response.done")[-1]["response"]["usage"]
            counted.append((usage["input_tokens"], usage["input_token_details"]["cached_tokens"]))
    for (before, _), (now, cached) in pairwise(counted):
        assert cached > before - 2 * BLOCK_TOKENS, counted
        assert now - cached < now - before + 2 * BLOCK_TOKENS, counted
    assert counted[-1][1] >= counted[1][1] + BLOCK_TOKENS, counted


def test_a_long_utterance_is_read_while_it_is_spoken(nano_server: RunningServer) -> None:
    before = nano_server.metrics()[READ_AHEAD]
    with talking(nano_server) as talk:
        question = np.tile(spoken("I like the red house. What is two plus three?"), 4)
        for at in range(0, len(question), RATE_HZ // 4):
            talk.say(question[at : at + RATE_HZ // 4])
            time.sleep(0.1)
        for _ in range(10):
            talk.say(SILENCE[: RATE_HZ // 10])
            time.sleep(0.1)
        done = talk.until("response.done")[-1]["response"]
        assert done["status"] == "completed"
        heard = done["usage"]["input_token_details"]
        # What was read ahead is no cache of the client's.
        assert heard["cached_tokens"] < heard["audio_tokens"]
    assert nano_server.metrics()[READ_AHEAD] - before > heard["audio_tokens"]


def test_connections_that_break_off_leave_nothing_in_the_engines(nano_server: RunningServer) -> None:
    for number in range(12):
        with talking(nano_server) as talk:
            talk.write(COUNTING)
            for _ in range(number):
                talk.socket.recv(30)
            talk.socket.socket.shutdown(SHUT_RDWR)
    running = ("antiphon_stage_running", "antiphon_realtime_connections")
    assert becomes(
        lambda: (
            not any(
                float(line.split()[-1])
                for line in nano_server.get("/metrics").text.splitlines()
                if line.startswith(running)
            )
        ),
        5,
    )
