"""The Talkers' model states in vLLM's V2 runner: slots by request, and graphs of a step's end.

`get_model_state_cls` of the models names them. The V1 runner, which a CPU gets, knows no model states: there
a `StreamState` keeps the slots, and a step's end runs eagerly.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.config.compilation import CUDAGraphMode
from vllm.v1.core.sched.output import NewRequestData
from vllm.v1.kv_cache_interface import KVCacheConfig
from vllm.v1.worker.gpu.block_table import BlockTables
from vllm.v1.worker.gpu.input_batch import InputBatch, InputBuffers
from vllm.v1.worker.gpu.mm.encoder_cache import EncoderCache
from vllm.v1.worker.gpu.model_states.default import DefaultModelState
from vllm.v1.worker.gpu.model_states.interface import ModelState
from vllm.v1.worker.gpu.model_states.mamba_hybrid import MambaHybridModelState
from vllm.v1.worker.gpu.states import RequestState
from vllm.v1.worker.utils import AttentionGroup

from antiphon_executor.models.talker.step.frame_graphs import FrameGraphs, cuda_capture
from antiphon_executor.models.talker.step.request_slots import RequestSlots
from antiphon_executor.models.talker.stream_state import StreamState

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.core.sched.output.NewRequestData": ("prefill_token_ids",),
    "vllm.v1.worker.gpu.model_states.interface.ModelState": (
        "add_request(req_index, new_req_data)",
        "apply_staged_writes()",
        "capture_inner_cudagraphs(input_buffers, block_tables, attn_groups, kv_cache_config)",
        "initialize_kv_cache(kv_cache_config, block_tables)",
        "prepare_dummy_inputs(num_reqs, num_tokens)",
        "prepare_inputs(input_batch, req_states)",
    ),
}

REQUESTS = "requests"


class _SlotsByRequest(ModelState):
    """Gives `forward` the argument `requests`: the `RequestSlots` of the step."""

    def __init__(
        self,
        vllm_config: VllmConfig,
        model: nn.Module,
        encoder_cache: EncoderCache | None,
        device: torch.device,
    ) -> None:
        super().__init__(vllm_config, model, encoder_cache, device)
        step: Any = model.step
        self._graphs: FrameGraphs | None = step.graphs if step is not None else None
        state = cast("StreamState", model.state)
        self._requests = RequestSlots(
            self.max_num_reqs, slot_base=state.slot_base, slots=state.slots, device=device
        )

    def add_request(self, req_index: int, new_req_data: NewRequestData) -> None:
        super().add_request(req_index, new_req_data)
        tokens = new_req_data.prefill_token_ids
        if not tokens:
            raise ValueError("a Talker's request has no tokens")
        self._requests.put(req_index, tokens[0])

    def apply_staged_writes(self) -> None:
        super().apply_staged_writes()
        self._requests.upload()

    def initialize_kv_cache(self, kv_cache_config: KVCacheConfig, block_tables: BlockTables) -> None:
        super().initialize_kv_cache(kv_cache_config, block_tables)
        # vLLM captures once to measure memory, then allocates the cache and captures again.
        if self._graphs is not None:
            self._graphs.release()

    def capture_inner_cudagraphs(
        self,
        input_buffers: InputBuffers,
        block_tables: BlockTables,
        attn_groups: list[list[AttentionGroup]],
        kv_cache_config: KVCacheConfig,
    ) -> None:
        super().capture_inner_cudagraphs(input_buffers, block_tables, attn_groups, kv_cache_config)
        if self._graphs is not None:
            self._graphs.capture(self.max_num_reqs, cuda_capture)

    def prepare_inputs(self, input_batch: InputBatch, req_states: RequestState) -> dict[str, Any]:
        return {**super().prepare_inputs(input_batch, req_states), REQUESTS: self._requests}

    def prepare_dummy_inputs(self, num_reqs: int, num_tokens: int) -> dict[str, Any]:
        return {**super().prepare_dummy_inputs(num_reqs, num_tokens), REQUESTS: self._requests}

    def prepare_attn(
        self,
        input_batch: InputBatch,
        cudagraph_mode: CUDAGraphMode,
        block_tables: tuple[torch.Tensor, ...],
        slot_mappings: torch.Tensor,
        attn_groups: list[list[AttentionGroup]],
        kv_cache_config: KVCacheConfig,
        for_capture: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Called before each forward with metadata, a captured one included."""
        self._requests.enter(input_batch, slots=not for_capture)
        return super().prepare_attn(
            input_batch,
            cudagraph_mode,
            block_tables,
            slot_mappings,
            attn_groups,
            kv_cache_config,
            for_capture,
            *args,
            **kwargs,
        )


class TalkerModelState(_SlotsByRequest, DefaultModelState):
    """For a backbone of attention layers alone."""


class HybridTalkerModelState(_SlotsByRequest, MambaHybridModelState):
    """For a backbone that has layers with a state too."""
