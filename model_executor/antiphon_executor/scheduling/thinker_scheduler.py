"""The Thinker's scheduler: vLLM's, which also ends requests that cannot continue.

These are requests with NaN logits, and requests whose schema does not finish compiling. Steps beside long
contexts are short, and others come before long prompts. Of a hybrid model it keeps the state where media end.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from vllm.multimodal.inputs import MultiModalFeatureSpec
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreOutputs
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request

from antiphon_executor.ipc.prefill_watch import PREFILL_WATCH
from antiphon_executor.ipc.stage_activity import activity_of
from antiphon_executor.scheduling.corrupted_requests import CorruptionAwareScheduler
from antiphon_executor.scheduling.grammar_watch import GRAMMAR_WATCH
from antiphon_executor.scheduling.one_per_step.request_turns import Progress, RequestTurns
from antiphon_executor.scheduling.planned_queues import PlannedQueues
from antiphon_executor.scheduling.real_time import NEVER_S
from antiphon_executor.scheduling.step_plan import StepPlan
from antiphon_executor.scheduling.step_time.step_budget import (
    LONG_TOKENS,
    PLAYING_STEP_S,
    STEP_S,
    MediaItem,
    StepBudget,
)
from antiphon_executor.scheduling.step_time.step_clock import StepClock
from antiphon_executor.scheduling.yielding import PLAYING_TOKENS, Yielding

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.core.sched.scheduler.Scheduler": (
        "_mamba_block_aligned_split(request, num_new_tokens, num_new_local_computed_tokens, "
        "num_external_computed_tokens)",
        "add_request(request)",
        "block_size",
        "schedule(throttle_prefills)",
        "update_from_output(scheduler_output, model_runner_output)",
        "grammar_compile_error_reqs",
        "kv_cache_manager",
        "max_num_active_reqs",
        "max_num_encoder_input_tokens",
        "max_num_running_reqs",
        "max_num_scheduled_tokens",
        "running",
        "requests",
        "scheduler_config",
        "vllm_config",
        "waiting",
    ),
    "vllm.v1.core.kv_cache_manager.KVCacheManager": ("coordinator", "prefix_cache_lookup_enabled(request)"),
    "vllm.v1.core.kv_cache_coordinator.KVCacheCoordinator": (
        "find_longest_cache_hit(block_hashes, max_cache_hit_length)",
    ),
    "vllm.v1.core.sched.output.SchedulerOutput": ("scheduled_encoder_inputs",),
    "vllm.v1.request.Request": (
        "block_hashes",
        "mm_features",
        "num_computed_tokens",
        "num_prompt_tokens",
        "num_tokens",
        "request_id",
        "structured_output_request",
    ),
    "vllm.v1.structured_output.request.StructuredOutputRequest": ("is_grammar_ready",),
}

# The server has compiled the schema before, within its own limit; this limit catches faults in the engine.
LONGEST_COMPILE_S = 15.0
# A long prompt takes half of a step while there are other requests.
LONG_PROMPT_SHARE = 2
# A prompt with more tokens left takes so many steps that speech would lack text meanwhile.
MEDIUM_TOKENS = 2_048
# A step with fewer tokens of prompts says nothing about those that read long ones.
_LEAST_TOKENS = 16


class _SharedCoresScheduler(CorruptionAwareScheduler):
    """Also ends requests whose schema does not compile, and lets urgent steps of the Talker go first."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.block_size: int
        self.max_num_scheduled_tokens: int
        self.max_num_encoder_input_tokens: int
        transfer = self.vllm_config.kv_transfer_config
        activity = activity_of(transfer and transfer.kv_connector_extra_config)
        self._yielding = Yielding(activity) if activity else None
        PREFILL_WATCH.follow(lambda: self.running)

    def add_request(self, request: Request) -> None:
        if request.structured_output_request is not None:
            GRAMMAR_WATCH.begin(request.request_id, request.structured_output_request)
        super().add_request(request)

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        # vLLM ends these requests with an error after the step, as it does when a compilation fails.
        self.grammar_compile_error_reqs |= GRAMMAR_WATCH.overdue(LONGEST_COMPILE_S) & self.requests.keys()
        if self._yielding is not None:
            self._yielding.wait_for_talker()
        token_limit, encoder_limit = self.max_num_scheduled_tokens, self.max_num_encoder_input_tokens
        step_tokens = self.most_step_tokens(token_limit)
        self.max_num_scheduled_tokens = step_tokens
        self.max_num_encoder_input_tokens = self.most_encoder_tokens(encoder_limit)
        self.scheduler_config.long_prefill_token_threshold = self.most_prompt_tokens(step_tokens)
        try:
            return super().schedule(throttle_prefills)
        finally:
            self.max_num_scheduled_tokens, self.max_num_encoder_input_tokens = token_limit, encoder_limit

    def most_step_tokens(self, limit: int) -> int:
        """The most tokens of the next step."""
        if self._yielding is None:
            return limit
        return self._yielding.step_tokens(limit, len(self.running))

    def most_encoder_tokens(self, limit: int) -> int:
        """The most tokens of media that the next step encodes."""
        return limit

    def most_prompt_tokens(self, step_tokens: int) -> int:
        """The most tokens of a prompt in a step of `step_tokens`, while there are other requests."""
        return step_tokens // LONG_PROMPT_SHARE

    def _mamba_block_aligned_split(
        self,
        request: Request,
        num_new_tokens: int,
        num_new_local_computed_tokens: int = 0,
        num_external_computed_tokens: int = 0,
    ) -> int:
        """A hybrid model's states are kept where steps end, so one ends with the last block of the media."""
        found = num_new_local_computed_tokens + num_external_computed_tokens
        first = request.num_computed_tokens + found
        kept = _media_end(request) // self.block_size * self.block_size
        if first < kept < first + num_new_tokens:
            num_new_tokens = kept - first
        tokens: int = super()._mamba_block_aligned_split(
            request, num_new_tokens, num_new_local_computed_tokens, num_external_computed_tokens
        )
        return tokens


def _media_end(request: Request) -> int:
    """Tokens of the prompt up to the end of its last medium."""
    if not request.mm_features:
        return 0
    last = request.mm_features[-1].mm_position
    return int(last.offset + last.length)


class _OneRequestScheduler(PlannedQueues, _SharedCoresScheduler):
    """Each step runs one request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turns = RequestTurns(self.max_num_scheduled_tokens, self.max_num_running_reqs)

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        with self.only_planned(self._turns.next(map(_progress, self.schedulable()))):
            return super().schedule(throttle_prefills)


def _progress(request: Request) -> Progress:
    return Progress(request.request_id, request.num_prompt_tokens, request.num_computed_tokens)


class _ShortStepsScheduler(PlannedQueues, _SharedCoresScheduler):
    """Steps beside long contexts have fewer tokens, so that they are short, and some have none of prompts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._step_clock = StepClock()
        self._step_budget = StepBudget()
        self._context = 0
        self._read_long = False
        self.max_num_active_reqs: int

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        with self._prompts_in_time():
            long = {one.request_id for one in self.schedulable() if _is_long(one)}
            output = super().schedule(throttle_prefills)
        self._read_long = not long.isdisjoint(output.num_scheduled_tokens)
        tokens = output.total_num_scheduled_tokens
        if tokens:
            streams, encoded = len(output.num_scheduled_tokens), self._encoded_tokens(output)
            self._step_clock.step_scheduled(output, time.monotonic(), streams, tokens, encoded, self._context)
        return output

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        length = self._step_clock.step_finished(scheduler_output, time.monotonic())
        if length is not None:
            self._step_budget.measured(length)
            if self._yielding is not None and length.prompt_tokens >= _LEAST_TOKENS:
                self._yielding.prompt_step_took(length.seconds)
        return outputs

    def most_step_tokens(self, limit: int) -> int:
        reading = [one for one in self.running if _reads_prompt(one)]
        answering = len(self.running) - len(reading)
        # A cache may have most of a prompt that begins in this step.
        contexts = [one.num_computed_tokens for one in reading] + [
            one.num_prompt_tokens for one in self.waiting
        ]
        self._context = max(contexts, default=self._context)
        media = _media_within([*reading, *self.waiting], limit)
        prompts = self._step_budget.tokens(limit, self._context, self._step_s, media)
        return min(super().most_step_tokens(limit), prompts + answering)

    def most_encoder_tokens(self, limit: int) -> int:
        """Several prompts that reach media at once encode theirs one after the other."""
        reading = filter(_reads_prompt, self.running)
        items = [*map(_next_item, reading), *map(_longest_item, self.waiting)]
        return self._step_budget.encoder_tokens(limit, self._step_s, items)

    @property
    def _step_s(self) -> float:
        is_playing = self._yielding is not None and self._yielding.speech_plays
        return PLAYING_STEP_S if is_playing else STEP_S

    def _encoded_tokens(self, output: SchedulerOutput) -> int:
        return sum(
            int(self.requests[name].mm_features[item].mm_position.length)
            for name, items in output.scheduled_encoder_inputs.items()
            for item in items
        )

    @contextmanager
    def _prompts_in_time(self) -> Iterator[None]:
        """Leaves prompts out of a step in which others come first, if no answer loses its cache by that."""
        requests = self.schedulable()
        left_out = self._left_out(requests)
        plan = self._without(left_out, requests) if left_out else None
        if plan is None or not self._has_cache_for(plan):
            yield
            return
        most = self.max_num_active_reqs
        self.max_num_active_reqs = most - sum(one.request_id in left_out for one in self.running)
        try:
            with self.only_planned(plan):
                yield
        finally:
            self.max_num_active_reqs = most

    def _left_out(self, requests: Sequence[Request]) -> set[str]:
        """Prompts of several steps, if speech lacks text; long ones beside shorter, in every second step."""
        several = [one for one in requests if _left(one) > PLAYING_TOKENS]
        answers = any(not _reads_prompt(one) for one in self.running)
        left_out: set[str] = set()
        if self._yielding is not None:
            patient = {one.request_id: _is_long(one) or _left(one) > MEDIUM_TOKENS for one in several}
            left_out = self._yielding.left_out(patient if answers else {})
        if not left_out and self._read_long and any(_left(one) > 0 and not _is_long(one) for one in requests):
            left_out = {one.request_id for one in several if _is_long(one)}
        if left_out:
            left_out -= {one.request_id for one in self.waiting if self._is_cached(one)}
        return left_out

    def _without(self, left_out: Container[str], requests: Sequence[Request]) -> StepPlan:
        run = tuple(one.request_id for one in requests if one.request_id not in left_out)
        return StepPlan(run, self.max_num_scheduled_tokens, frozenset(), NEVER_S)

    def _has_cache_for(self, plan: StepPlan) -> bool:
        """Whether the plan's requests need no other's cache. vLLM would take it from those that it sees."""
        running = [one for one in self.running if one.request_id in plan.run]
        return self._blocks_for(running, plan) <= self.kv_cache_manager.block_pool.get_num_free_blocks()

    def _is_cached(self, request: Request) -> bool:
        """Whether a waiting request has a long prompt of which the cache lacks little: a talk's next turn."""
        manager, left = self.kv_cache_manager, _left(request)
        is_known = left <= PLAYING_TOKENS or request.num_computed_tokens
        if is_known or not manager.prefix_cache_lookup_enabled(request):
            return False
        hit = manager.coordinator.find_longest_cache_hit(request.block_hashes, request.num_tokens - 1)
        return left - int(hit[1]) <= PLAYING_TOKENS

    def most_prompt_tokens(self, step_tokens: int) -> int:
        """Of what answers leave, each long prompt has a share, and all others together have one."""
        left = [_left(one) for one in self.running if _reads_prompt(one)]
        prompts = step_tokens - (len(self.running) - len(left))
        long = sum(tokens >= LONG_TOKENS for tokens in left)
        return max(prompts // max(long + 1, LONG_PROMPT_SHARE), 1)


def _reads_prompt(request: Request) -> bool:
    return request.num_computed_tokens < request.num_prompt_tokens


def _is_long(request: Request) -> bool:
    """Whether it reads a prompt in many steps, of which those at the end take long."""
    return request.num_prompt_tokens >= LONG_TOKENS and _left(request) > PLAYING_TOKENS


def _media_within(requests: Sequence[Request], tokens: int) -> list[MediaItem]:
    """The media that a step of `tokens` reaches and has to encode, in the order of `requests`.

    Of several long prompts none has more than its share of the step.
    """
    share = tokens if len(requests) < 2 else tokens // LONG_PROMPT_SHARE
    items: list[MediaItem] = []
    before = 0
    for request in requests:
        reached = min(_left(request), share, tokens - before)
        if reached <= 0:
            break
        first, features = request.num_computed_tokens, request.mm_features
        begin = bisect_left(features, first, key=_offset)
        end = bisect_left(features, first + reached, begin, key=_offset)
        items += [
            MediaItem(before + _offset(one) - first, one.mm_position.length) for one in features[begin:end]
        ]
        before += reached
    return items


def _next_item(request: Request) -> int:
    """The tokens of the medium that it reads or reaches next."""
    features = request.mm_features
    after = bisect_right(features, request.num_computed_tokens, key=_offset)
    return max((one.mm_position.length for one in features[max(after - 1, 0) : after + 1]), default=0)


def _longest_item(request: Request) -> int:
    """The tokens of its longest medium: a cache may have the prompt up to any of them."""
    return max((one.mm_position.length for one in request.mm_features), default=0)


def _offset(feature: MultiModalFeatureSpec) -> int:
    return int(feature.mm_position.offset)


def _left(request: Request) -> int:
    """Tokens of its prompt that are not computed, of which a cache may have some."""
    return max(request.num_prompt_tokens - request.num_computed_tokens, 0)


class ThinkerScheduler(_ShortStepsScheduler, Scheduler):
    """Schedules a step after the step before has ended."""


class AsyncThinkerScheduler(_ShortStepsScheduler, AsyncScheduler):
    """Schedules the next step while one runs."""


class OneRequestThinkerScheduler(_OneRequestScheduler, Scheduler):
    """`ThinkerScheduler` for `--engine.deterministic`."""


class AsyncOneRequestThinkerScheduler(_OneRequestScheduler, AsyncScheduler):
    """`AsyncThinkerScheduler` for `--engine.deterministic`."""
