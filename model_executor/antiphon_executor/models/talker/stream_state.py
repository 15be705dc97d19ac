"""The layer that ties a vLLM request to its slot on the V1 runner, and by which the scheduler finds slots.

vLLM allocates one state block per request for `MambaBase` layers, tracks it through chunked prefill, batching
and preemption, and frees it. The block holds only the slot number; all other state is in `SlotPool`.
"""

from __future__ import annotations

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.forward_context import get_forward_context
from vllm.model_executor.layers.mamba.abstract import MambaBase
from vllm.v1.attention.backends.gdn_attn import GDNAttentionMetadata
from vllm.v1.attention.backends.linear_attn import LinearAttentionMetadata
from vllm.v1.attention.backends.registry import MambaAttentionBackendEnum
from vllm.v1.kv_cache_interface import KVCacheSpec

from antiphon_executor.ipc.frame_sender import FrameSender
from antiphon_executor.models.talker.slots import PADDING_SLOT
from antiphon_executor.models.talker.step_rows import StepRows, token_requests
from antiphon_executor.models.talker.streams import Streams

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.config.VllmConfig": ("use_v2_model_runner",),
    "vllm.forward_context.ForwardContext": (
        "attn_metadata",
        "no_compile_layers",
    ),
    "vllm.v1.attention.backends.linear_attn.LinearAttentionMetadata": (
        "num_decodes",
        "num_prefills",
        "query_start_loc",
        "seq_lens",
        "state_indices_tensor",
    ),
    "vllm.v1.attention.backends.gdn_attn.GDNAttentionMetadata": (
        "non_spec_query_start_loc",
        "non_spec_state_indices_tensor",
        "num_decodes",
        "num_prefills",
    ),
}


class StreamState(nn.Module, MambaBase):
    """One int32 per request: its slot, read from the prompt's first token (`slot_base` + slot).

    On the V2 runner a model state keeps the slots (`step.request_slots`), and the layer has no cache. The
    scheduler finds the layer, and through it the streams, in the vLLM configuration of the process.
    """

    streams: Streams
    sender: FrameSender

    def __init__(self, prefix: str, vllm_config: VllmConfig, *, slot_base: int, slots: int) -> None:
        super().__init__()
        self.prefix = prefix
        self.slot_base = slot_base
        self.slots = slots
        self.kv_cache = (torch.tensor([]),)
        context = vllm_config.compilation_config.static_forward_context
        if prefix in context:
            raise ValueError(f"duplicate layer name: {prefix}")
        context[prefix] = self

    @property
    def mamba_type(self) -> MambaAttentionBackendEnum:
        return MambaAttentionBackendEnum.LINEAR

    @staticmethod
    def state_shape() -> tuple[tuple[int, ...], ...]:
        return ((1,),)

    @staticmethod
    def state_dtype() -> tuple[torch.dtype, ...]:
        return (torch.int32,)

    def get_kv_cache_spec(self, vllm_config: VllmConfig) -> KVCacheSpec | None:
        return None if vllm_config.use_v2_model_runner else super().get_kv_cache_spec(vllm_config)

    def get_state_shape(self) -> tuple[tuple[int, ...], ...]:
        return self.state_shape()

    def get_state_dtype(self) -> tuple[torch.dtype, ...]:
        return self.state_dtype()

    def forward(self, input_ids: torch.Tensor, positions: torch.Tensor) -> StepRows | None:
        """The step's rows; None in a profiling run, which has no attention metadata. `input_ids`: [N]."""
        metadata = get_forward_context().attn_metadata
        if metadata is None:
            return None
        if isinstance(metadata, list):
            raise TypeError("the Talker does not support micro-batches")
        meta: LinearAttentionMetadata = metadata[self.prefix]
        count = meta.num_decodes + meta.num_prefills
        (state,) = self.kv_cache
        bounds = meta.query_start_loc[: count + 1]
        slot = self._slots(input_ids, bounds, meta.state_indices_tensor, state)
        return StepRows.of_requests(slot, bounds, meta.seq_lens[:count], input_ids.shape[0])

    def _slots(
        self, input_ids: torch.Tensor, bounds: torch.Tensor, blocks: torch.Tensor, state: torch.Tensor
    ) -> torch.Tensor:
        """The slot of each request; stored in `state` (int32 [blocks, 1]) when the request begins."""
        begin, end = bounds[:-1].to(torch.int64), bounds[1:].to(torch.int64)
        real = end > begin
        head = input_ids[begin.clamp(max=input_ids.shape[0] - 1)].to(torch.int64)
        begins = real & (head >= self.slot_base) & (head < self.slot_base + self.slots)
        block = blocks[: begin.shape[0]].to(torch.int64).clamp(min=0)
        slot = torch.where(begins, head - self.slot_base, state[block, 0].to(torch.int64))
        slot = torch.where(real, slot, PADDING_SLOT)
        state[block, 0] = slot.to(torch.int32)
        return slot


class HostedStreamState(StreamState):
    """For models that have state layers: the slot is kept by the block of one of them, the `host`.

    It needs no cache group of its own. Positions are places in the sequence, [N].
    """

    def __init__(
        self, prefix: str, vllm_config: VllmConfig, *, slot_base: int, slots: int, host: str
    ) -> None:
        super().__init__(prefix, vllm_config, slot_base=slot_base, slots=slots)
        self._host = host
        self._by_block = torch.zeros(0, 1, dtype=torch.int32)

    def get_kv_cache_spec(self, vllm_config: VllmConfig) -> None:
        return None

    def forward(self, input_ids: torch.Tensor, positions: torch.Tensor) -> StepRows | None:
        context = get_forward_context()
        metadata = context.attn_metadata
        if metadata is None:
            return None
        if isinstance(metadata, list):
            raise TypeError("the Talker does not support micro-batches")
        meta: GDNAttentionMetadata = metadata[self._host]
        bounds, blocks = meta.non_spec_query_start_loc, meta.non_spec_state_indices_tensor
        if bounds is None or blocks is None:
            raise TypeError("the Talker does not support speculative decoding")
        bounds = bounds[: meta.num_decodes + meta.num_prefills + 1]
        states: torch.Tensor = context.no_compile_layers[self._host].kv_cache[0]
        if len(self._by_block) != len(states):
            # vLLM first allocates a smaller cache, to measure CUDA graphs.
            self._by_block = torch.zeros(len(states), 1, dtype=torch.int32, device=states.device)
        slot = self._slots(input_ids, bounds, blocks, self._by_block)
        request, _ = token_requests(bounds, input_ids.shape[0])
        index = positions.to(torch.int64)
        last = (bounds[1:].to(torch.int64) - 1).clamp(min=0)
        return StepRows(slot, index[last] + 1, request, index)
