"""The Talker scheduler's end of the text socket: text in, into the slots.

Text may overtake the request that opens its stream, since the two come on different sockets: it waits here.
"""

from __future__ import annotations

import msgspec
import zmq

from antiphon_executor.messages import SpokenText, StreamGone
from antiphon_executor.talker.dual_track_streams import DualTrackStreams


class TextInbox:
    """Owns the PULL socket that the bridge pushes text to."""

    def __init__(self, address: str) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PULL)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.bind(address)
        self._decoder = msgspec.msgpack.Decoder(SpokenText | StreamGone)
        self._early: dict[int, list[SpokenText]] = {}

    def drain(self, streams: DualTrackStreams) -> None:
        """Takes in all that has arrived, and what waited for streams that are open now."""
        while self._socket.poll(0):
            message = self._decoder.decode(self._socket.recv())
            if isinstance(message, StreamGone):
                self._early.pop(message.stream, None)
            else:
                self._early.setdefault(message.stream, []).append(message)
        for stream in [stream for stream in self._early if streams.is_open(stream)]:
            for text in self._early.pop(stream):
                streams.append_text(stream, text.token_ids, final=text.final)

    def wait(self, milliseconds: int) -> None:
        """Returns when text is there, or after `milliseconds`."""
        self._socket.poll(milliseconds)

    def close(self) -> None:
        self._socket.close()
