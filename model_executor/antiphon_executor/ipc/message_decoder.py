"""Decodes messages; one that cannot be decoded is counted and logged, and never raises.

Of an undecodable message, the stream or request that it belongs to is returned if that can be read.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from antiphon_executor.ipc.dropped_messages import DroppedMessages

M = TypeVar("M")

# Bytes that are not msgpack raise DecodeError; a number too large for its type raises OverflowError.
_UNREADABLE = (msgspec.MsgspecError, ValueError, OverflowError)


class Unreadable(msgspec.Struct, frozen=True):
    """The owner of a message that cannot be decoded, as far as it can be read."""

    stream: int | None = None
    request_id: str | None = None


class MessageDecoder(Generic[M]):
    """`dropped`: counts what could not be decoded; readers add what could not be delivered."""

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
    """The `stream` and `request_id` fields of a packed message, None where it has none."""
    try:
        return msgspec.msgpack.decode(packed, type=Unreadable)
    except _UNREADABLE:
        return Unreadable()
