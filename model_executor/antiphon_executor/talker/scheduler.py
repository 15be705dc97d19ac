"""The Talker's scheduler: vLLM's, with streams held until the text of their next frame is there.

In: requests that carry a `StreamStart`, text from the bridge. A held stream keeps its KV blocks and its slot,
and holds nobody else. Slots open with their request and close with it, however it ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from vllm.config import get_layers_from_vllm_config
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine import EngineCoreOutputs
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus

from antiphon_executor.talker.slots import EXTRA_ARG, SlotPool, StreamStart
from antiphon_executor.talker.stream_state import StreamState
from antiphon_executor.talker.text_inbox import TextInbox

IDLE_WAIT_MS = 2


class TalkerScheduler(AsyncScheduler):
    """Named as `scheduler_cls`. Lives in the worker's process and shares its `SlotPool`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        layers = get_layers_from_vllm_config(self.vllm_config, StreamState)
        (state,) = layers.values()
        self._state: StreamState = state
        self._pool: SlotPool = state.pool
        self._inbox = TextInbox(self.vllm_config.additional_config["text_socket"])
        self._slots: dict[str, int] = {}
        self.running: list[Request]

    def add_request(self, request: Request) -> None:
        """Opens the request's slot, then queues it. Who held the slot before has lost its lease, and ends."""
        arguments = request.sampling_params.extra_args or {}
        start = msgspec.msgpack.decode(arguments[EXTRA_ARG], type=StreamStart)
        stale = [known for known, slot in self._slots.items() if slot == start.slot]
        self.finish_requests(stale, RequestStatus.FINISHED_ABORTED)
        self._pool.open(start)
        self._slots[request.request_id] = start.slot
        super().add_request(request)

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        self._inbox.drain(self._pool)
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

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        self._close_finished()
        return outputs

    def finish_requests(
        self, request_ids: str | Iterable[str] | None, finished_status: RequestStatus
    ) -> list[Request]:
        finished = super().finish_requests(request_ids, finished_status)
        self._close_finished()
        return finished

    def shutdown(self) -> None:
        self._inbox.close()
        self._state.sender.close()
        super().shutdown()

    def _ready(self, request: Request) -> bool:
        frame = request.num_output_tokens + request.num_output_placeholders
        return self._pool.ready(self._slots[request.request_id], frame)

    def _close_finished(self) -> None:
        for request_id in [known for known in self._slots if known not in self.requests]:
            self._pool.close(self._slots.pop(request_id))
