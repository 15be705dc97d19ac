"""The Talker's scheduler where text has a track of its own: a stream waits for its next frame's text.

In: text from the bridge. A held stream keeps its KV blocks and its slot, and holds nobody else.
"""

from __future__ import annotations

from typing import Any

from vllm.v1.request import Request

from antiphon_executor.models.qwen3_omni.dual_track_streams import DualTrackStreams
from antiphon_executor.scheduling.scheduler import TalkerScheduler
from antiphon_executor.scheduling.text_inbox import TextInbox

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.request.Request": (
        "num_output_placeholders",
        "num_output_tokens",
    ),
}


class DualTrackScheduler(TalkerScheduler):
    """Of `DualTrackStreams`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        streams = self._state.streams
        if not isinstance(streams, DualTrackStreams):
            raise TypeError("this scheduler is for streams with a text track")
        self._streams = streams
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

    def wait_for_work(self, seconds: float) -> None:
        self._text.wait_for_text(max(round(seconds * 1000), 1))
