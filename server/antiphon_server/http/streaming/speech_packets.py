"""The speech of one response: packets for the client's player, and how far the client is with them."""

from __future__ import annotations

import time

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ
from antiphon_server.chat.response.packetizer import Packetizer
from antiphon_server.chat.service import Service
from antiphon_server.http.send_limit import ClientStalled
from antiphon_server.observability.request_trace import mark


class SpeechPackets:
    """`add` what was generated, send what `pop_due` returns, then report it with `count_sent`.

    `speed`: of what is sent, relative to what was generated for `request_id`.
    """

    def __init__(self, request_id: str, service: Service, speed: float = 1.0) -> None:
        self._request_id = request_id
        self._service = service
        self._speed = speed
        self._packetizer = Packetizer(
            service.settings.chat.packets, lambda: service.engine.status().frame_time.startup_buffer_s
        )
        self._sent_bytes = 0
        self._behind_s = 0.0

    @property
    def holds_speech(self) -> bool:
        return bool(self._packetizer.held_s)

    @property
    def played_samples(self) -> int:
        """An upper bound of what the client has played, of what was sent."""
        buffered = self._packetizer.buffered_s(time.monotonic()) * OUTPUT_SAMPLE_RATE_HZ
        return max(self._sent_bytes // 2 - int(buffered), 0)

    def add(self, pcm: bytes) -> None:
        if pcm:
            self._packetizer.add_pcm(pcm, time.monotonic())

    def due_in_s(self) -> float | None:
        """How long the held speech may still wait for more; None if none is held."""
        return self._packetizer.due_in_s(time.monotonic())

    def pop_due(self) -> bytes:
        """The speech to send now; none if none is due."""
        now_s = time.monotonic()
        slack_s, pcm = self._packetizer.slack_s(now_s), self._packetizer.pop_packet(now_s)
        if pcm and slack_s is not None:
            self._service.metrics.packet_sent(slack_s)
        return pcm

    def flush(self) -> bytes:
        """All held speech, however much the client has buffered. It counts as sent."""
        pcm = self._packetizer.flush()
        if pcm:
            self._packetizer.packet_sent(time.monotonic(), pcm)
            self._sent_bytes += len(pcm)
        return pcm

    def count_sent(self, pcm: bytes, since_s: float) -> None:
        """A packet was sent, beginning at `since_s`.

        Raises ClientStalled for a client that reads speech more slowly than it plays, when it is too far
        behind.
        """
        mark("first_packet")
        now_s = time.monotonic()
        self._packetizer.packet_sent(now_s, pcm)
        self._sent_bytes += len(pcm)
        self._service.engine.report_consumed(self._request_id, int(self._sent_bytes // 2 * self._speed))
        self._behind_s = max(self._behind_s + now_s - since_s - len(pcm) / 2 / OUTPUT_SAMPLE_RATE_HZ, 0.0)
        if self._behind_s > self._service.settings.server.timeouts.stalled_client_s:
            self._service.metrics.request_aborted("stalled_client")
            raise ClientStalled
