"""The Talker's scheduler: vLLM's, with a slot for every request.

In: requests that carry how their stream opens. Slots open with their request and close with it, however it
ends. Never looks into a stream: what its family needs beyond that is a subclass.
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

from antiphon_executor.talker.slots import EXTRA_ARG
from antiphon_executor.talker.stream_state import StreamState


class _Lease(msgspec.Struct):
    """What the start of any family's stream says of its slot."""

    slot: int


class TalkerScheduler(AsyncScheduler):
    """Named as `scheduler_cls`. Lives in the worker's process and shares its streams.

    A session's later inputs come under the id of its first and find its slot open; between them it waits as
    vLLM lets sessions wait, and keeps its cache and its slot.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        layers = get_layers_from_vllm_config(self.vllm_config, StreamState)
        (state,) = layers.values()
        self._state: StreamState = state
        self._slots: dict[str, int] = {}

    def add_request(self, request: Request) -> None:
        """Opens the request's slot, then queues it. A late input of a session that was ended is dropped."""
        if request.request_id not in self.requests:
            arguments = request.sampling_params.extra_args or {}
            if EXTRA_ARG not in arguments:
                return
            self._open(request.request_id, arguments[EXTRA_ARG])
        super().add_request(request)

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
        self._state.sender.close()
        super().shutdown()

    def _open(self, request_id: str, start: bytes) -> None:
        """Who held the slot before has lost its lease, and ends."""
        slot = msgspec.msgpack.decode(start, type=_Lease).slot
        stale = [known for known, held in self._slots.items() if held == slot]
        self.finish_requests(stale, RequestStatus.FINISHED_ABORTED)
        self._state.streams.open(start)
        self._slots[request_id] = slot

    def _close_finished(self) -> None:
        for request_id in [known for known in self._slots if known not in self.requests]:
            self._state.streams.close(self._slots.pop(request_id))
