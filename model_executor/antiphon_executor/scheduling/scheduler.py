"""The Talker's scheduler: gives every request a slot, and runs in each step the streams that pacing chooses.

A slot opens and closes with its request. Streams that do not run keep their cache and slot.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from vllm.config import get_layers_from_vllm_config
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine import EngineCoreOutputs
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ
from antiphon_executor.interface.settings import PaceSettings
from antiphon_executor.ipc.dropped_messages import DroppedMessages
from antiphon_executor.ipc.message_decoder import owner_of
from antiphon_executor.ipc.messages import StepTimesReport
from antiphon_executor.ipc.pace_socket import PaceSocket
from antiphon_executor.ipc.stage_activity import StageActivity
from antiphon_executor.models.talker.slots import EXTRA_ARG
from antiphon_executor.models.talker.stream_state import StreamState
from antiphon_executor.scheduling.deadline import first_come_first_served, plan_step
from antiphon_executor.scheduling.one_per_step.stream_turns import TurnTimes, one_stream
from antiphon_executor.scheduling.planned_queues import PlannedQueues
from antiphon_executor.scheduling.step_plan import PacingRules
from antiphon_executor.scheduling.step_time.step_clock import StepClock
from antiphon_executor.scheduling.stream_book import Candidate, StreamBook

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.core.sched.scheduler.Scheduler": (
        "add_request(request)",
        "schedule(throttle_prefills)",
        "update_from_output(scheduler_output, model_runner_output)",
        "finish_requests(request_ids, finished_status)",
        "shutdown()",
        "max_num_running_reqs",
        "requests",
        "vllm_config",
    ),
    "vllm.v1.request.Request": (
        "num_computed_tokens",
        "num_output_placeholders",
        "num_tokens",
        "resumable",
        "streaming_queue",
    ),
}

IDLE_WAIT_S = 0.002


class _SlotClaim(msgspec.Struct):
    """The fields that the start message of every family has."""

    stream: int
    slot: int
    unheard_tokens: int = 0
    live: bool = False


class TalkerScheduler(PlannedQueues, AsyncScheduler):
    """vLLM's `scheduler_cls` of the Talker. Runs in the worker's process and shares its streams.

    Each later input of a session has the id of the first and finds the slot open.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        layers = get_layers_from_vllm_config(self.vllm_config, StreamState)
        (state,) = layers.values()
        self._state: StreamState = state
        self._slots: dict[str, int] = {}
        self._streams_by_number: dict[int, str] = {}
        self._frames: dict[str, int] = {}
        config = self.vllm_config.additional_config
        pace = PaceSettings.model_validate(config.get("pace", {}))
        self._book = stream_book(pace, one_per_step=config.get("one_per_step", False))
        cursors = config.get("pace_socket")
        self._pace_socket = PaceSocket(cursors, config["frames_socket"]) if cursors else None
        self._clock = StepClock()
        activity = config.get("activity")
        self._activity = StageActivity(Path(activity)) if activity else None
        self._refused = DroppedMessages("streams")

    def add_request(self, request: Request) -> None:
        """Opens the request's slot, then queues the request.

        A request whose slot cannot be opened is dropped and its stream fails. A late input of a session that
        has ended is dropped too.
        """
        if request.request_id not in self.requests:
            arguments = request.sampling_params.extra_args or {}
            if EXTRA_ARG not in arguments:
                return
            start = arguments[EXTRA_ARG]
            try:
                self._open_slot(request.request_id, start)
            except Exception as error:
                self._refused.add(error)
                stream = owner_of(start).stream
                if stream is not None:
                    self._state.sender.fail(stream)
                return
        super().add_request(request)
        self._report_sound()

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        self.drain_sockets()
        self._report_sound()
        now_s = time.monotonic()
        plan = self._book.plan(now_s, map(self._candidate, self.schedulable()))
        started = {key for key, frames in self._frames.items() if frames > 0}
        slack_s = {key: self._book.slack_s(key, now_s) for key in self._slots}
        plan = self.free_cache_for(plan, slack_s, started, now_s)
        if self._pace_socket is not None and self._book.starts_in(plan):
            # The server holds back the first frame by this report, so it must count the streams of the step.
            self._pace_socket.send_step_times(now_s, self._step_times_report(now_s))
        with self.only_planned(plan) as held:
            output = super().schedule(throttle_prefills)
            if not output.total_num_scheduled_tokens:
                self.preempt_stuck_session(partial(self._book.slack_s, now_s=now_s))
        if output.total_num_scheduled_tokens:
            streams = len(output.num_scheduled_tokens)
            if self._activity is not None:
                self._activity.step_began(now_s, self._book.urgent_s(plan, now_s))
            self._clock.step_scheduled(output, now_s, streams, output.total_num_scheduled_tokens)
        elif held:
            self.wait_for_work(min(plan.replan_in_s, IDLE_WAIT_S))
        return output

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        now_s = time.monotonic()
        length = self._clock.step_finished(scheduler_output, now_s)
        if self._activity is not None:
            self._activity.step_ended(now_s)
        if length is not None:
            self._book.step_measured(length.streams, length.prompt_tokens, length.seconds)
        for one in (one for core in outputs.values() for one in core.outputs):
            if one.new_token_ids and one.request_id in self._frames:
                self._frames[one.request_id] += len(one.new_token_ids)
                if self._frames[one.request_id] > 0:
                    self._book.frames_generated(one.request_id, now_s, self._frames[one.request_id])
                else:
                    self._book.prompt_computed(one.request_id)
        self._close_finished()
        return outputs

    def finish_requests(
        self, request_ids: str | Iterable[str] | None, finished_status: RequestStatus
    ) -> list[Request]:
        finished = super().finish_requests(request_ids, finished_status)
        self._close_finished()
        return finished

    def shutdown(self) -> None:
        if self._pace_socket is not None:
            self._pace_socket.close()
        self._state.sender.close()
        super().shutdown()

    def drain_sockets(self) -> None:
        """Reads what has arrived on sockets since the last step, and sends the reports that are due."""
        if self._pace_socket is None:
            return
        now_s = time.monotonic()
        for cursor in self._pace_socket.drain_cursors():
            key = self._streams_by_number.get(cursor.stream)
            if key is not None:
                self._book.client_consumed(key, now_s, cursor.samples / OUTPUT_SAMPLE_RATE_HZ)
        self._pace_socket.report_paused(self._book.paused)
        self._pace_socket.report_step_times(now_s, partial(self._step_times_report, now_s))

    def is_ready(self, request: Request) -> bool:
        """Whether the input of the request's next step is complete."""
        return True

    def has_all_text(self, request: Request) -> bool:
        """Whether no more text of the stream will come from the Thinker: a session has its last input."""
        queue = request.streaming_queue
        return not request.resumable or (bool(queue) and queue[-1] is None)

    def wait_for_work(self, seconds: float) -> None:
        """No stream can run: returns after `seconds`, or earlier when something arrives."""
        time.sleep(seconds)

    def _step_times_report(self, now_s: float) -> StepTimesReport | None:
        return self._book.step_times_report(self.max_num_running_reqs, now_s)

    def _candidate(self, request: Request) -> Candidate:
        due = request.num_tokens + request.num_output_placeholders - request.num_computed_tokens
        return Candidate(request.request_id, max(due - 1, 0), self.is_ready(request))

    def _open_slot(self, request_id: str, start: bytes) -> None:
        """Opens the slot that the server has chosen; a request that still holds it is aborted."""
        claim = msgspec.msgpack.decode(start, type=_SlotClaim)
        stale = [known for known, held in self._slots.items() if held == claim.slot]
        self.finish_requests(stale, RequestStatus.FINISHED_ABORTED)
        try:
            self._state.streams.open(start)
        except Exception:
            if self._state.streams.pool.slot_of(claim.stream) == claim.slot:
                self._state.streams.close(claim.slot)
            raise
        self._slots[request_id] = claim.slot
        self._streams_by_number[claim.stream] = request_id
        self._frames[request_id] = -claim.unheard_tokens
        self._book.add_stream(request_id, time.monotonic(), live=claim.live, primed=not claim.unheard_tokens)

    def _report_sound(self) -> None:
        if self._activity is not None:
            lacking = {key for key, one in self.requests.items() if not self.has_all_text(one)}
            self._activity.sound_lasts(self._book.sound_until_s(time.monotonic(), lacking))

    def _close_finished(self) -> None:
        gone = [known for known in self._slots if known not in self.requests]
        for request_id in gone:
            self._state.streams.close(self._slots.pop(request_id))
            self._book.remove_stream(request_id)
            del self._frames[request_id]
        if gone:
            kept = {number: key for number, key in self._streams_by_number.items() if key in self._slots}
            self._streams_by_number = kept
        self._report_sound()


def stream_book(settings: PaceSettings, *, one_per_step: bool = False) -> StreamBook:
    """`settings`: the operator's (`--engine.talker.pace.*`). `one_per_step`: a step runs one stream."""
    rules = PacingRules(
        pause_above_s=settings.park_s, resume_below_s=settings.park_s / 2, headroom=settings.headroom
    )
    plan_next = first_come_first_served if settings.scheduling == "fifo" else plan_step
    if one_per_step:
        return StreamBook(rules, one_stream(plan_next), TurnTimes())
    return StreamBook(rules, plan_next)
