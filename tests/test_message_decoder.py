"""Any bytes that arrive are decoded or dropped; the decoder never raises."""

from __future__ import annotations

import logging

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon_executor.ipc.message_decoder import MessageDecoder, Unreadable
from antiphon_executor.ipc.messages import Message, SpeechFrames, SpokenText

MESSAGE = msgspec.msgpack.encode(SpokenText(7, [1, 2, 3], final=True))
SIMPLE = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text(), st.binary())


def decoder() -> MessageDecoder[Message]:
    return MessageDecoder("test", msgspec.msgpack.Decoder(Message))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_a_message_or_dropped(packed: bytes) -> None:
    one = decoder()
    read = one.decode(packed)
    assert isinstance(read, Unreadable) == (one.dropped.count == 1)


@settings(deadline=None)
@given(st.integers(0, len(MESSAGE) - 1), st.integers(0, 255), st.integers(0, len(MESSAGE)))
def test_a_message_with_a_byte_changed_or_its_end_missing_is_a_message_or_dropped(
    place: int, byte: int, length: int
) -> None:
    packed = bytearray(MESSAGE)
    packed[place] = byte
    decoder().decode(bytes(packed[:length]))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["stream", "request_id", "frame", "pcm"]), SIMPLE))
def test_fields_of_any_kind_name_their_stream_where_that_can_be_read(fields: dict[str, object]) -> None:
    read = decoder().decode(msgspec.msgpack.encode({"type": "SpeechFrames"} | fields))
    assert isinstance(read, Unreadable)
    assert read.stream is None or read.stream == fields["stream"]


def test_a_whole_message_is_itself() -> None:
    frame = SpeechFrames(7, 0, b"", b"pcm", ended=False)
    assert decoder().decode(msgspec.msgpack.encode(frame)) == frame


def test_many_dropped_messages_are_few_lines_of_log(caplog: pytest.LogCaptureFixture) -> None:
    one = decoder()
    with caplog.at_level(logging.ERROR):
        for _ in range(1_000):
            one.decode(b"\xc1 secret")
    assert one.dropped.count == 1_000
    assert len(caplog.records) == 10
    assert "secret" not in caplog.text
