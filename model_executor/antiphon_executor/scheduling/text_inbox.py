"""The Talker scheduler's end of the text socket: appends arriving text to the open streams.

Text and requests use different sockets, so text can arrive before its stream is open; it is kept until then.
Text that cannot be decoded or appended fails its own stream only.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import zmq

from antiphon_executor.ipc.message_decoder import MessageDecoder, Unreadable
from antiphon_executor.ipc.messages import SpokenText, StreamClosed
from antiphon_executor.models.talker.streams import TextTrackStreams


class TextInbox:
    """Owns the PULL socket that the bridge pushes text to."""

    def __init__(self, address: str) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PULL)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.bind(address)
        self._decoder = MessageDecoder("text", msgspec.msgpack.Decoder(SpokenText | StreamClosed))
        self._early: dict[int, list[SpokenText]] = {}

    def drain_text(self, streams: TextTrackStreams, failed: Callable[[int], None]) -> None:
        """Appends all text that has arrived, and early text of streams that are open now.

        `failed` is called with the number of each stream whose text is incomplete from now on.
        """
        while self._socket.poll(0):
            match self._decoder.decode(self._socket.recv()):
                case SpokenText(stream=stream) as text:
                    self._early.setdefault(stream, []).append(text)
                case StreamClosed(stream=stream):
                    self._early.pop(stream, None)
                case Unreadable(stream=int(stream)):
                    failed(stream)
        for stream in [stream for stream in self._early if streams.is_open(stream)]:
            self._append(streams, self._early.pop(stream), failed)
        streams.write_text()

    def _append(
        self, streams: TextTrackStreams, texts: list[SpokenText], failed: Callable[[int], None]
    ) -> None:
        for text in texts:
            try:
                streams.append_text(text.stream, text.token_ids, final=text.final)
            # An error in one stream's text must not stop the others.
            except Exception as error:
                self._decoder.dropped.add(error)
                failed(text.stream)

    def wait_for_text(self, milliseconds: int) -> None:
        """Returns when text has arrived, or after `milliseconds`."""
        self._socket.poll(milliseconds)

    def close(self) -> None:
        self._socket.close()
