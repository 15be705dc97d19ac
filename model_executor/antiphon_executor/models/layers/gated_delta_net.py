"""Gated DeltaNet in float32 on a CPU, in plain PyTorch: vLLM's CPU kernels support only bfloat16.

On other devices and dtypes this is vLLM's layer. Importing the module registers it as an out-of-tree layer of
vLLM. Reference: transformers' `Qwen3_5GatedDeltaNet`, whose delta rules it calls.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.qwen3_5.modeling_qwen3_5 import (
    torch_chunk_gated_delta_rule,
    torch_recurrent_gated_delta_rule,
)
from vllm.forward_context import get_forward_context
from vllm.model_executor.layers.mamba.gdn.qwen_gdn_linear_attn import QwenGatedDeltaNetAttention
from vllm.model_executor.layers.mamba.mamba_utils import is_conv_state_dim_first
from vllm.v1.attention.backends.gdn_attn import GDNAttentionMetadata

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.model_executor.layers.mamba.gdn.qwen_gdn_linear_attn.QwenGatedDeltaNetAttention": (
        "_output_projection(core_attn_out, z)",
        "forward(hidden_states)",
        "A_log",
        "conv1d",
        "dt_bias",
        "head_k_dim",
        "head_v_dim",
        "in_proj_ba",
        "in_proj_qkvz",
        "key_dim",
        "num_k_heads",
        "num_v_heads",
        "tp_size",
        "value_dim",
    ),
    "vllm.v1.attention.backends.gdn_attn.GDNAttentionMetadata": (
        "has_initial_state",
        "non_spec_query_start_loc",
        "non_spec_state_indices_tensor",
        "num_decodes",
        "num_prefills",
    ),
}


@QwenGatedDeltaNetAttention.register_oot
class GatedDeltaNet(QwenGatedDeltaNetAttention):
    """Replaces `QwenGatedDeltaNetAttention` in vLLM's layer registry."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[N, hidden] → [N, hidden]"""
        if hidden_states.device.type != "cpu" or hidden_states.dtype != torch.float32:
            return super().forward(hidden_states)
        projected, _ = self.in_proj_qkvz(hidden_states)
        values = self.value_dim // self.tp_size
        mixed, z = projected.split([projected.shape[-1] - values, values], dim=-1)
        ba, _ = self.in_proj_ba(hidden_states)
        b, a = ba.chunk(2, dim=-1)
        decay = -self.A_log.exp() * functional.softplus(a + self.dt_bias)
        out = self._mix(mixed, decay, b.sigmoid())
        return self._output_projection(out, z.reshape(out.shape))

    def _mix(self, mixed: Tensor, decay: Tensor, beta: Tensor) -> Tensor:
        """`mixed`: [N, channels]; `decay` (log), `beta`: [N, heads] → [N, heads, head_dim]"""
        out = mixed.new_zeros(*decay.shape, self.head_v_dim)
        metadata = get_forward_context().attn_metadata
        if metadata is None:
            return out
        meta: GDNAttentionMetadata = metadata[self.prefix]
        blocks, bounds = meta.non_spec_state_indices_tensor, meta.non_spec_query_start_loc
        if blocks is None or bounds is None:
            raise TypeError("gated DeltaNet in float32 does not support speculative decoding")
        n = meta.num_decodes
        if n:
            rows = (mixed[:n, None], decay[:n, None], beta[:n, None])
            out[:n] = self._advance(*rows, blocks[:n].to(torch.int64), known=True)[:, 0]
        edges = bounds[n : n + meta.num_prefills + 1].tolist()
        begun = meta.has_initial_state
        for index, (start, end) in enumerate(pairwise(edges), start=n):
            rows = (mixed[None, start:end], decay[None, start:end], beta[None, start:end])
            known = begun is not None and bool(begun[index])
            out[start:end] = self._advance(*rows, blocks[index : index + 1].to(torch.int64), known=known)[0]
        return out

    def _advance(self, mixed: Tensor, decay: Tensor, beta: Tensor, blocks: Tensor, *, known: bool) -> Tensor:
        """Rows [batch, q, …] of requests with states in `blocks` [batch] → [batch, q, heads, head_dim].

        `known`: the blocks hold the states of these requests, not of earlier ones.
        """
        conv, recurrent = self.kv_cache
        if is_conv_state_dim_first():
            conv = conv.transpose(1, 2)
        recurrent = recurrent.view(len(recurrent), -1, self.head_k_dim, self.head_v_dim)
        past = conv[blocks] if known else torch.zeros_like(conv[blocks])
        window = torch.cat((past, mixed), dim=1)
        conv[blocks] = window[:, -past.shape[1] :]
        weight = self.conv1d.weight
        mixed = functional.silu(functional.conv1d(window.transpose(1, 2), weight, groups=len(weight)))
        query, key, value = self._heads(mixed.transpose(1, 2))
        rule = torch_recurrent_gated_delta_rule if mixed.shape[2] == 1 else torch_chunk_gated_delta_rule
        out, state = rule(
            query,
            key,
            value,
            g=decay,
            beta=beta,
            initial_state=recurrent[blocks] if known else None,
            output_final_state=True,
            use_qk_l2norm_in_kernel=True,
        )
        recurrent[blocks] = state
        return out

    def _heads(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[batch, q, channels] → queries, keys and values, [batch, q, value heads, head_dim]"""
        batch, q, _ = mixed.shape
        sizes = [size // self.tp_size for size in (self.key_dim, self.key_dim, self.value_dim)]
        query, key, value = mixed.split(sizes, dim=-1)
        shared = self.num_v_heads // self.num_k_heads
        query = query.reshape(batch, q, -1, self.head_k_dim).repeat_interleave(shared, dim=2)
        key = key.reshape(batch, q, -1, self.head_k_dim).repeat_interleave(shared, dim=2)
        return query, key, value.reshape(batch, q, -1, self.head_v_dim)
