"""The layer that ties a vLLM request to a slot.

vLLM allocates one state block per request for `MambaBase` layers, tracks it through chunked prefill, batching
and preemption, and frees it. All that we keep there is the slot number; the rest stands in `SlotPool`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.forward_context import get_forward_context
from vllm.model_executor.layers.mamba.abstract import MambaBase
from vllm.v1.attention.backends.linear_attn import LinearAttentionMetadata
from vllm.v1.attention.backends.registry import MambaAttentionBackendEnum

from antiphon_executor.talker.frame_sender import FrameSender
from antiphon_executor.talker.slots import TRASH_SLOT, SlotPool


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one step. R requests, N tokens; all int64 on the device.

    `slot` [R], trash for padding; `last` [R], each request's last token; `seq_len` [R], tokens known after
    the step; `token_request` [N]; `token_index` [N], a token's place in its sequence. `decode_only`: every
    request has exactly one token.
    """

    slot: torch.Tensor
    last: torch.Tensor
    seq_len: torch.Tensor
    token_request: torch.Tensor
    token_index: torch.Tensor
    decode_only: bool


class StreamState(nn.Module, MambaBase):
    """One int32 per request: its slot, taken from the prompt's first token (`slot_base` + slot).

    The scheduler finds it in the config that it shares with the model, and through it the slots.
    """

    pool: SlotPool
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

    def get_state_shape(self) -> tuple[tuple[int, ...], ...]:
        return self.state_shape()

    def get_state_dtype(self) -> tuple[torch.dtype, ...]:
        return self.state_dtype()

    def forward(self, input_ids: torch.Tensor) -> Rows | None:
        """The step's rows, or None in a profiling run without attention metadata. `input_ids`: [N]."""
        metadata = get_forward_context().attn_metadata
        if metadata is None:
            return None
        if isinstance(metadata, list):
            raise TypeError("the Talker does not run with micro-batches")
        return self._rows(metadata[self.prefix], input_ids)

    def _rows(self, meta: LinearAttentionMetadata, input_ids: torch.Tensor) -> Rows:
        requests = meta.num_decodes + meta.num_prefills
        bounds = meta.query_start_loc[: requests + 1].to(torch.int64)
        begin, end = bounds[:-1], bounds[1:]
        real = end > begin
        limit = input_ids.shape[0] - 1
        head = input_ids[begin.clamp(max=limit)].to(torch.int64)
        opening = real & (head >= self.slot_base) & (head < self.slot_base + self.slots)
        block = meta.state_indices_tensor[:requests].to(torch.int64).clamp(min=0)
        (state,) = self.kv_cache
        slot = torch.where(opening, head - self.slot_base, state[block, 0].to(torch.int64))
        slot = torch.where(real, slot, TRASH_SLOT)
        state[block, 0] = slot.to(torch.int32)
        seq_len = meta.seq_lens[:requests].to(torch.int64)
        tokens = torch.arange(input_ids.shape[0], device=input_ids.device)
        request = torch.searchsorted(end, tokens, right=True).clamp(max=requests - 1)
        return Rows(
            slot=slot,
            last=(end - 1).clamp(min=0),
            seq_len=seq_len,
            token_request=request,
            token_index=seq_len[request] - (end[request] - tokens),
            decode_only=meta.num_prefills == 0 and input_ids.shape[0] == requests,
        )
