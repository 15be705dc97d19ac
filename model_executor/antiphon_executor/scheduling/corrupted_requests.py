"""Requests whose logits are no numbers: ended with an error, instead of going on with a token at random.

In: what vLLM's worker counts when `VLLM_COMPUTE_NANS_IN_LOGITS` is set. Out: an error finish for each such
request and no other: what it leaves in the cache is zeroed before another reads it. vLLM counts them as
`vllm:corrupted_requests`. A base of both engines' schedulers.
"""

from __future__ import annotations

from typing import Any

from vllm.platforms import current_platform
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs, FinishReason
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import RequestStatus

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.core.sched.scheduler.Scheduler": (
        "schedule(throttle_prefills)",
        "update_from_output(scheduler_output, model_runner_output)",
        "finish_requests(request_ids, finished_status)",
        "kv_cache_manager",
        "requests",
    ),
    "vllm.v1.core.kv_cache_manager.KVCacheManager": (
        "block_pool",
        "evict_blocks(block_ids)",
        "get_block_ids(request_id)",
    ),
    "vllm.v1.core.block_pool.BlockPool": (
        "blocks",
        "null_block",
    ),
    "vllm.v1.core.kv_cache_utils.KVCacheBlock": (
        "block_id",
        "ref_cnt",
    ),
    "vllm.v1.core.sched.output.SchedulerOutput": ("new_block_ids_to_zero",),
    "vllm.v1.outputs.ModelRunnerOutput": ("num_nans_in_logits",),
    "vllm.v1.request.Request": (
        "client_index",
        "take_events()",
    ),
}


class CorruptionAwareScheduler(Scheduler):
    """To be named before vLLM's scheduler among the bases."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._broken_blocks: set[int] = set()

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        """On a CPU attention multiplies what lies behind a sequence's end by 0, and NaN stays NaN."""
        free = self._free_broken_blocks()
        output = super().schedule(throttle_prefills)
        if free and current_platform.is_cpu():
            output.new_block_ids_to_zero = [*(output.new_block_ids_to_zero or ()), *free]
        return output

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        counts = model_runner_output.num_nans_in_logits or {}
        corrupted = {request_id: count for request_id, count in counts.items() if count}
        if not corrupted:
            return super().update_from_output(scheduler_output, model_runner_output)
        ended = self._end(corrupted)
        outputs = super().update_from_output(scheduler_output, model_runner_output)
        for client, output in ended:
            outputs.setdefault(client, EngineCoreOutputs()).outputs.append(output)
        return outputs

    def _end(self, corrupted: dict[str, int]) -> list[tuple[int, EngineCoreOutput]]:
        """Before vLLM looks at the tokens that were drawn of nothing; one might be an end."""
        for request_id in corrupted:
            if request_id in self.requests:
                # Else the next prompt that begins alike would read what is broken here.
                groups = self.kv_cache_manager.get_block_ids(request_id)
                blocks = {block for group in groups for block in group}
                blocks.discard(self.kv_cache_manager.block_pool.null_block.block_id)
                self.kv_cache_manager.evict_blocks(blocks)
                self._broken_blocks |= blocks
        return [
            (
                request.client_index,
                EngineCoreOutput(
                    request_id=request.request_id,
                    new_token_ids=[],
                    finish_reason=FinishReason.ERROR,
                    events=request.take_events(),
                    num_nans_in_logits=corrupted[request.request_id],
                ),
            )
            for request in self.finish_requests(corrupted, RequestStatus.FINISHED_ERROR)
        ]

    def _free_broken_blocks(self) -> list[int]:
        """Once each. What others share with a request that has ended is theirs, and sound while they are."""
        blocks, self._broken_blocks = self._broken_blocks, set()
        return [block for block in blocks if not self.kv_cache_manager.block_pool.blocks[block].ref_cnt]
