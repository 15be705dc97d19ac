"""The Talker's scheduler: vLLM's, with a slot for every request, and in a step only those who should run.

In: requests that carry how their stream opens, cursors of clients. Slots open with their request and close
with it, however it ends. Who runs is `pace.py`'s to say; the others keep cache and slot and hold nobody.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from vllm.config import get_layers_from_vllm_config
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine import EngineCoreEventType, EngineCoreOutputs
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ
from antiphon_executor.interface.settings import PaceSettings
from antiphon_executor.ipc.dropped_messages import DroppedMessages
from antiphon_executor.ipc.message_decoder import owner_of
from antiphon_executor.ipc.pace_socket import PaceSocket
from antiphon_executor.models.talker.slots import EXTRA_ARG
from antiphon_executor.models.talker.stream_state import StreamState
from antiphon_executor.scheduling.corrupted_requests import CorruptionAwareScheduler
from antiphon_executor.scheduling.deadline import PacingRules, StepPlan, first_come_first_served, plan_step
from antiphon_executor.scheduling.step_clock import StepClock
from antiphon_executor.scheduling.stream_book import Candidate, StreamBook

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.core.sched.scheduler.Scheduler": (
        "add_request(request)",
        "schedule(throttle_prefills)",
        "update_from_output(scheduler_output, model_runner_output)",
        "finish_requests(request_ids, finished_status)",
        "shutdown()",
        "_preempt_request(request, timestamp, drop_stale_output)",
        "_free_request_blocks(request)",
        "_request_blocks_can_be_freed(request)",
        "kv_cache_manager",
        "kv_holding_waiting",
        "log_stats",
        "max_model_len",
        "max_num_running_reqs",
        "max_num_scheduled_tokens",
        "requests",
        "running",
        "vllm_config",
        "waiting",
    ),
    "vllm.v1.core.sched.request_queue.RequestQueue": (
        "prepend_request(request)",
        "remove_request(request)",
        "remove_requests(requests)",
    ),
    "vllm.v1.core.kv_cache_manager.KVCacheManager": (
        "block_pool",
        "coordinator",
        "empty_kv_cache_blocks",
    ),
    "vllm.v1.core.kv_cache_coordinator.KVCacheCoordinator": (
        "get_num_blocks_to_allocate(request_id, num_tokens, new_computed_blocks, num_encoder_tokens, "
        "total_computed_tokens, num_local_computed_tokens, num_tokens_main_model, apply_admission_cap, "
        "prefill_end)",
    ),
    "vllm.v1.core.block_pool.BlockPool": ("get_num_free_blocks()",),
    "vllm.v1.request.Request": (
        "num_computed_tokens",
        "num_output_placeholders",
        "num_preemptions",
        "num_tokens",
        "record_event(event_type, timestamp)",
        "status",
    ),
}

IDLE_WAIT_S = 0.002


class _SlotClaim(msgspec.Struct):
    """What the start of any family's stream says of its slot."""

    stream: int
    slot: int
    live: bool = False


class TalkerScheduler(CorruptionAwareScheduler, AsyncScheduler):
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
        self._streams_by_number: dict[int, str] = {}
        self._frames: dict[str, int] = {}
        config = self.vllm_config.additional_config
        self._book = stream_book(PaceSettings.model_validate(config.get("pace", {})))
        cursors = config.get("pace_socket")
        self._pace_socket = PaceSocket(cursors, config["frames_socket"]) if cursors else None
        self._clock = StepClock()
        self._refused = DroppedMessages("streams")
        self.running: list[Request]
        self.max_num_scheduled_tokens: int

    def add_request(self, request: Request) -> None:
        """Opens the request's slot, then queues it. A late input of a session that was ended is dropped.

        So is a request that cannot be opened, and its stream fails: the others go on.
        """
        if request.request_id not in self.requests:
            arguments = request.sampling_params.extra_args or {}
            if EXTRA_ARG not in arguments:
                return
            start = arguments[EXTRA_ARG]
            try:
                self._open(request.request_id, start)
            except Exception as error:
                self._refused.add(error)
                stream = owner_of(start).stream
                if stream is not None:
                    self._state.sender.fail(stream)
                return
        super().add_request(request)

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        self.drain_sockets()
        now_s = time.monotonic()
        able = [*self.running, *self.waiting, *self._sessions()]
        plan = self._book.plan(now_s, map(self._candidate, able))
        plan = self._make_room(plan, now_s)
        with self._only(plan) as held:
            output = super().schedule(throttle_prefills)
            if not output.total_num_scheduled_tokens:
                self._take_last_session(now_s)
        if output.total_num_scheduled_tokens:
            streams = len(output.num_scheduled_tokens)
            self._clock.step_scheduled(output, now_s, streams, output.total_num_scheduled_tokens)
        elif held:
            self.wait_for_work(min(plan.replan_in_s, IDLE_WAIT_S))
        return output

    @contextmanager
    def _only(self, plan: StepPlan) -> Iterator[bool]:
        """Takes everybody else out of vLLM's queues, in the block. -> whether there is anybody else."""
        rank = {key: place for place, key in enumerate(plan.run)}
        held = [request for request in self.running if request.request_id not in rank]
        waiting = [request for request in self.waiting if request.request_id not in rank]
        sessions = [request for request in self._sessions() if request.request_id not in rank]
        chosen = [request for request in self.running if request.request_id in rank]
        self.running = sorted(chosen, key=lambda request: rank[request.request_id])
        self.waiting.remove_requests(waiting)
        self.kv_holding_waiting.remove_requests(sessions)
        most = self.max_num_scheduled_tokens
        self.max_num_scheduled_tokens = min(most, max(len(rank) + plan.prompt_tokens, 1))
        try:
            yield bool(held or waiting or sessions)
        finally:
            self.max_num_scheduled_tokens = most
            self.running.extend(held)
            for request in reversed(waiting):
                self.waiting.prepend_request(request)
            for request in reversed(sessions):
                self.kv_holding_waiting.prepend_request(request)

    def _sessions(self) -> list[Request]:
        """Sessions whose next input is there; they hold their cache while they wait for a step."""
        return [one for one in self.kv_holding_waiting if one.status == RequestStatus.WAITING]

    def _make_room(self, plan: StepPlan, now_s: float) -> StepPlan:
        """Takes the cache of streams that can wait, most slack first, for those that run. -> who still runs.

        vLLM alone would preempt among those that run, which have least. A stream that plays takes from all
        that have more slack, one that begins from those that rest or are not listened to.
        """
        chosen, slack_s = set(plan.run), {key: self._book.slack_s(key, now_s) for key in self._slots}
        unheard = {key for key, seconds in slack_s.items() if seconds == math.inf}
        able = [*self.running, *self._sessions(), *self.waiting]
        run = [one for one in able if one.request_id in chosen - unheard]
        holders = [
            one
            for one in (*self.running, *self._sessions())
            if one.request_id not in chosen - unheard and self._request_blocks_can_be_freed(one)
        ]
        holders.sort(key=lambda one: (slack_s[one.request_id], one.request_id not in chosen))
        gone: set[str] = set()
        missing = -self.kv_cache_manager.block_pool.get_num_free_blocks()
        for plays, spared in ((True, set[str]()), (False, set(slack_s) - unheard - plan.paused)):
            needing = [one for one in run if (self._frames[one.request_id] > 0) == plays]
            missing += self._blocks_for(needing, plan)
            while missing > 0 and holders and holders[-1].request_id not in spared:
                gone.add(holders[-1].request_id)
                missing -= self._evict(holders.pop(), now_s)
        return replace(plan, run=tuple(key for key in plan.run if key not in gone)) if gone else plan

    def _blocks_for(self, requests: list[Request], plan: StepPlan) -> int:
        """How many more blocks the requests' next step takes; all of a prompt's where it is to begin."""
        manager = self.kv_cache_manager
        blocks = 0
        for request in requests:
            computed = request.num_computed_tokens
            due = request.num_tokens + request.num_output_placeholders - computed
            tokens = due if request.status != RequestStatus.RUNNING else min(due, plan.prompt_tokens + 1)
            blocks += manager.coordinator.get_num_blocks_to_allocate(
                request_id=request.request_id,
                num_tokens=min(computed + tokens, self.max_model_len),
                new_computed_blocks=manager.empty_kv_cache_blocks.blocks,
                num_encoder_tokens=0,
                total_computed_tokens=computed,
                num_local_computed_tokens=computed,
                num_tokens_main_model=min(computed + tokens, self.max_model_len),
            )
        return blocks

    def _evict(self, request: Request, now_s: float) -> int:
        """Back into the queue, from where it is computed again. -> how many blocks that has freed."""
        pool = self.kv_cache_manager.block_pool
        free = pool.get_num_free_blocks()
        if request.status == RequestStatus.RUNNING:
            self.running.remove(request)
            self._preempt_request(request, now_s)
        else:
            self._take_session(request)
        return int(pool.get_num_free_blocks() - free)

    def _take_last_session(self, now_s: float) -> None:
        """Where all sessions hold some cache, none has enough, and so none could run."""
        stuck = self._sessions()
        if stuck:
            self._take_session(max(stuck, key=lambda one: self._book.slack_s(one.request_id, now_s)))

    def _take_session(self, request: Request) -> None:
        """vLLM preempts those that run, and a session does not: between two inputs it waits."""
        self.kv_holding_waiting.remove_request(request)
        self._free_request_blocks(request)
        request.num_computed_tokens = 0
        request.num_preemptions += 1
        if self.log_stats:
            request.record_event(EngineCoreEventType.PREEMPTED)
        self.waiting.prepend_request(request)

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        now_s = time.monotonic()
        length = self._clock.step_finished(scheduler_output, now_s)
        if length is not None:
            self._book.step_measured(length.streams, length.prompt_tokens, length.seconds)
        for one in (one for core in outputs.values() for one in core.outputs):
            if one.new_token_ids and one.request_id in self._frames:
                self._frames[one.request_id] += len(one.new_token_ids)
                self._book.frames_generated(one.request_id, now_s, self._frames[one.request_id])
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
        """What has come by other ways than requests."""
        if self._pace_socket is None:
            return
        now_s = time.monotonic()
        for cursor in self._pace_socket.drain_cursors():
            key = self._streams_by_number.get(cursor.stream)
            if key is not None:
                self._book.client_consumed(key, now_s, cursor.samples / OUTPUT_SAMPLE_RATE_HZ)
        self._pace_socket.report_paused(self._book.paused)
        self._pace_socket.report_step_times(
            now_s, partial(self._book.step_times_report, self.max_num_running_reqs, now_s)
        )

    def is_ready(self, request: Request) -> bool:
        """Whether what the request's next step needs is there."""
        return True

    def wait_for_work(self, seconds: float) -> None:
        """Nobody can run: returns after `seconds`, or when something has come."""
        time.sleep(seconds)

    def _candidate(self, request: Request) -> Candidate:
        due = request.num_tokens + request.num_output_placeholders - request.num_computed_tokens
        return Candidate(request.request_id, max(due - 1, 0), self.is_ready(request))

    def _open(self, request_id: str, start: bytes) -> None:
        """Who held the slot before has lost its lease, and ends."""
        lease = msgspec.msgpack.decode(start, type=_SlotClaim)
        stale = [known for known, held in self._slots.items() if held == lease.slot]
        self.finish_requests(stale, RequestStatus.FINISHED_ABORTED)
        try:
            self._state.streams.open(start)
        except Exception:
            if self._state.streams.pool.slot_of(lease.stream) == lease.slot:
                self._state.streams.close(lease.slot)
            raise
        self._slots[request_id] = lease.slot
        self._streams_by_number[lease.stream] = request_id
        self._frames[request_id] = 0
        self._book.add_stream(request_id, time.monotonic(), live=lease.live)

    def _close_finished(self) -> None:
        gone = [known for known in self._slots if known not in self.requests]
        for request_id in gone:
            self._state.streams.close(self._slots.pop(request_id))
            self._book.remove_stream(request_id)
            del self._frames[request_id]
        if gone:
            kept = {number: key for number, key in self._streams_by_number.items() if key in self._slots}
            self._streams_by_number = kept


def stream_book(settings: PaceSettings) -> StreamBook:
    rules = PacingRules(
        pause_above_s=settings.park_s, resume_below_s=settings.park_s / 2, headroom=settings.headroom
    )
    return StreamBook(rules, first_come_first_served if settings.scheduling == "fifo" else plan_step)
