"""Bytes to messages, one at a time: what cannot be read is dropped, counted, logged, and never raised.

In: a message as it travels. Out: the message; else whose it was, as far as that can be read.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from antiphon_executor.ipc.dropped_messages import DroppedMessages

M = TypeVar("M")

# What is no message at all raises DecodeError; a number too large for its type, OverflowError.
_UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError)


class Unreadable(msgspec.Struct, frozen=True):
    """The owner of an unreadable message, as far as it can be read."""

    stream: int | None = None
    request_id: str | None = None


class MessageDecoder(Generic[M]):
    """`dropped`: what could not be read; the reader adds what could not be used."""

    def __init__(self, channel: str, decoder: msgspec.msgpack.Decoder[M]) -> None:
        self.dropped = DroppedMessages(channel)
        self._decoder = decoder

    def decode(self, packed: bytes) -> M | Unreadable:
        try:
            return self._decoder.decode(packed)
        except _UNREADABLE as error:
            self.dropped.add(error)
            return owner_of(packed)


def owner_of(packed: bytes) -> Unreadable:
    try:
        return msgspec.msgpack.decode(packed, type=Unreadable)
    except _UNREADABLE:
        return Unreadable()
