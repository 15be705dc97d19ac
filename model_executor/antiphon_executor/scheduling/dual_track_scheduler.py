"""The Talker's scheduler for families with a text track: a stream waits until its next frame's text is there.

A waiting stream keeps its KV blocks and its slot, and does not hold up the others.
"""

from __future__ import annotations

from typing import Any

from vllm.v1.request import Request

from antiphon_executor.models.talker.streams import TextTrackStreams
from antiphon_executor.scheduling.scheduler import TalkerScheduler
from antiphon_executor.scheduling.text_inbox import TextInbox

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.request.Request": (
        "num_output_placeholders",
        "num_output_tokens",
    ),
}


# No text has so many tokens: only a complete one has all that this frame needs.
MOST_FRAMES = 1 << 30


class DualTrackScheduler(TalkerScheduler):
    """Schedules `TextTrackStreams`; their text arrives on a socket from the bridge."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        streams = self._state.streams
        if not isinstance(streams, TextTrackStreams):
            raise TypeError("DualTrackScheduler needs streams with a text track")
        self._streams: TextTrackStreams = streams
        self._text = TextInbox(self.vllm_config.additional_config["text_socket"])

    def shutdown(self) -> None:
        self._text.close()
        super().shutdown()

    def drain_sockets(self) -> None:
        self._text.drain_text(self._streams, self._state.sender.fail)
        super().drain_sockets()

    def is_ready(self, request: Request) -> bool:
        frame = request.num_output_tokens + request.num_output_placeholders
        return self._streams.is_ready(self._slots[request.request_id], frame)

    def has_all_text(self, request: Request) -> bool:
        slot = self._slots.get(request.request_id)
        return slot is not None and self._streams.is_ready(slot, MOST_FRAMES)

    def wait_for_work(self, seconds: float) -> None:
        self._text.wait_for_text(max(round(seconds * 1000), 1))
