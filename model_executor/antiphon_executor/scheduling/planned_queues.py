"""Reorders vLLM's request queues around `super().schedule()`, so that a step runs only planned requests.

The other requests keep their KV cache. No vLLM code is replaced; it uses the private names listed below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from vllm.v1.engine import EngineCoreEventType
from vllm.v1.request import Request, RequestStatus

from antiphon_executor.scheduling.corrupted_requests import CorruptionAwareScheduler
from antiphon_executor.scheduling.step_plan import StepPlan

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.core.sched.scheduler.Scheduler": (
        "_preempt_request(request, timestamp, drop_stale_output)",
        "_free_request_blocks(request)",
        "_request_blocks_can_be_freed(request)",
        "kv_cache_manager",
        "kv_holding_waiting",
        "log_stats",
        "max_model_len",
        "max_num_scheduled_tokens",
        "running",
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


class PlannedQueues(CorruptionAwareScheduler):
    """vLLM's scheduler, with the means to run a planned set of requests and to free cache for them.

    A session (streaming input) that has its next input waits in `kv_holding_waiting` and keeps its cache.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.running: list[Request]
        self.max_num_scheduled_tokens: int

    def schedulable(self) -> list[Request]:
        """All requests that the next step could run."""
        return [*self.running, *self.waiting, *self._waiting_sessions()]

    @contextmanager
    def only_planned(self, plan: StepPlan) -> Iterator[bool]:
        """Hides all other requests from vLLM inside the block. Yields whether there are any."""
        rank = {key: place for place, key in enumerate(plan.run)}
        held = [request for request in self.running if request.request_id not in rank]
        waiting = [request for request in self.waiting if request.request_id not in rank]
        sessions = [request for request in self._waiting_sessions() if request.request_id not in rank]
        chosen = [request for request in self.running if request.request_id in rank]
        self.running = sorted(chosen, key=lambda request: rank[request.request_id])
        self.waiting.remove_requests(waiting)
        self.kv_holding_waiting.remove_requests(sessions)
        token_limit = self.max_num_scheduled_tokens
        self.max_num_scheduled_tokens = min(token_limit, max(len(rank) + plan.prompt_tokens, 1))
        try:
            yield bool(held or waiting or sessions)
        finally:
            self.max_num_scheduled_tokens = token_limit
            self.running.extend(held)
            for request in reversed(waiting):
                self.waiting.prepend_request(request)
            for request in reversed(sessions):
                self.kv_holding_waiting.prepend_request(request)

    def free_cache_for(
        self, plan: StepPlan, slack_s: Mapping[str, float], started: Container[str], now_s: float
    ) -> StepPlan:
        """Preempts requests with the most slack until the plan's requests have enough cache blocks.

        vLLM alone would preempt among the running requests, which have the least slack. A stream that has
        `started` takes blocks from all streams with more slack, a new one only from paused streams and batch
        requests. `slack_s`: by request id, infinite for batch requests. Returns the plan without the
        preempted requests.
        """
        chosen = set(plan.run)
        batch = {key for key, seconds in slack_s.items() if seconds == math.inf}
        able = [*self.running, *self._waiting_sessions(), *self.waiting]
        run = [one for one in able if one.request_id in chosen - batch]
        holders = [
            one
            for one in (*self.running, *self._waiting_sessions())
            if one.request_id not in chosen - batch and self._request_blocks_can_be_freed(one)
        ]
        holders.sort(key=lambda one: (slack_s[one.request_id], one.request_id not in chosen))
        preempted: set[str] = set()
        missing = -self.kv_cache_manager.block_pool.get_num_free_blocks()
        for has_started, spared in ((True, set[str]()), (False, set(slack_s) - batch - plan.paused)):
            needing = [one for one in run if (one.request_id in started) == has_started]
            missing += self._blocks_for(needing, plan)
            while missing > 0 and holders and holders[-1].request_id not in spared:
                preempted.add(holders[-1].request_id)
                missing -= self._preempt(holders.pop(), now_s)
        if not preempted:
            return plan
        return replace(plan, run=tuple(key for key in plan.run if key not in preempted))

    def preempt_stuck_session(self, slack_s: Callable[[str], float]) -> None:
        """Frees the session with the most slack, when sessions hold all cache and none has enough to run."""
        stuck = self._waiting_sessions()
        if stuck:
            self._preempt_session(max(stuck, key=lambda one: slack_s(one.request_id)))

    def _waiting_sessions(self) -> list[Request]:
        """Sessions whose next input has arrived."""
        return [one for one in self.kv_holding_waiting if one.status == RequestStatus.WAITING]

    def _blocks_for(self, requests: list[Request], plan: StepPlan) -> int:
        """Blocks that the requests' next step needs: all of the prompt for one that does not run yet."""
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

    def _preempt(self, request: Request, now_s: float) -> int:
        """Puts the request back into the queue, to be computed again. Returns how many blocks that freed."""
        pool = self.kv_cache_manager.block_pool
        free = pool.get_num_free_blocks()
        if request.status == RequestStatus.RUNNING:
            self.running.remove(request)
            self._preempt_request(request, now_s)
        else:
            self._preempt_session(request)
        return int(pool.get_num_free_blocks() - free)

    def _preempt_session(self, request: Request) -> None:
        """vLLM preempts only running requests; a session between two inputs is not running."""
        self.kv_holding_waiting.remove_request(request)
        self._free_request_blocks(request)
        request.num_computed_tokens = 0
        request.num_preemptions += 1
        if self.log_stats:
            request.record_event(EngineCoreEventType.PREEMPTED)
        self.waiting.prepend_request(request)
