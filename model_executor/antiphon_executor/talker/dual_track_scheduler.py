"""The Talker's scheduler where text has a track of its own: a stream waits for its next frame's text.

In: text from the bridge. A held stream keeps its KV blocks and its slot, and holds nobody else.
"""

from __future__ import annotations

from typing import Any

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.request import Request

from antiphon_executor.talker.dual_track_streams import DualTrackStreams
from antiphon_executor.talker.scheduler import TalkerScheduler
from antiphon_executor.talker.text_inbox import TextInbox

IDLE_WAIT_MS = 2


class DualTrackScheduler(TalkerScheduler):
    """Of `DualTrackStreams`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        streams = self._state.streams
        if not isinstance(streams, DualTrackStreams):
            raise TypeError("this scheduler is for streams with a text track")
        self._streams = streams
        self._inbox = TextInbox(self.vllm_config.additional_config["text_socket"])
        self.running: list[Request]

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        self._inbox.drain(self._streams)
        running = [request for request in self.running if not self._ready(request)]
        waiting = [request for request in self.waiting if not self._ready(request)]
        self.running = [request for request in self.running if self._ready(request)]
        self.waiting.remove_requests(waiting)
        output = super().schedule(throttle_prefills)
        self.running.extend(running)
        for request in reversed(waiting):
            self.waiting.prepend_request(request)
        if running and not output.total_num_scheduled_tokens:
            self._inbox.wait(IDLE_WAIT_MS)
        return output

    def shutdown(self) -> None:
        self._inbox.close()
        super().shutdown()

    def _ready(self, request: Request) -> bool:
        frame = request.num_output_tokens + request.num_output_placeholders
        return self._streams.ready(self._slots[request.request_id], frame)
