"""Ends requests whose logits are NaN with an error, instead of continuing with a random token.

vLLM's worker counts NaNs if `VLLM_COMPUTE_NANS_IN_LOGITS` is set. Cache blocks of such a request are zeroed
before another request reads them. Both engines' schedulers derive from this class.
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
    """Must come before vLLM's scheduler among the base classes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._corrupted_blocks: set[int] = set()

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        """Also zeroes corrupted blocks: CPU attention multiplies padding by 0, and NaN times 0 is NaN."""
        free = self._free_corrupted_blocks()
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
        """Runs before vLLM reads the tokens drawn from NaN logits; one of them could be an end token."""
        for request_id in corrupted:
            if request_id in self.requests:
                # Without this, the next prompt with the same prefix would reuse the corrupted blocks.
                groups = self.kv_cache_manager.get_block_ids(request_id)
                blocks = {block for group in groups for block in group}
                blocks.discard(self.kv_cache_manager.block_pool.null_block.block_id)
                self.kv_cache_manager.evict_blocks(blocks)
                self._corrupted_blocks |= blocks
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

    def _free_corrupted_blocks(self) -> list[int]:
        """The corrupted blocks that no request uses, each once. A block that others share is sound."""
        blocks, self._corrupted_blocks = self._corrupted_blocks, set()
        return [block for block in blocks if not self.kv_cache_manager.block_pool.blocks[block].ref_cnt]
