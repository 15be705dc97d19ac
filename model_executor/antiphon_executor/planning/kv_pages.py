"""Calculates how much of an engine's cache a request takes, in bytes per GPU.

Follows vLLM 0.32's `get_kv_cache_groups`: all blocks have the same size, and each holds the pages of one
group of layers.
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedConfig

from antiphon_executor.models.qwen3_5_omni.memory import state_bytes

# vLLM's blocks on a GPU and on a CPU. Those of a hybrid model are a multiple of it.
GPU_BLOCK_TOKENS = 16
CPU_BLOCK_TOKENS = 128


@dataclass(frozen=True, slots=True)
class CachePages:
    """Cache layout of one engine, per GPU.

    `token_bytes`: keys and values of one token in one attention layer. `state_bytes`: state of one
    gated-DeltaNet layer. `states`: states per request (two with prefix caching). `row_bytes`: hidden state
    kept with each token, 0 for none; every GPU keeps all of it, in pages like those of attention.
    `single_states`: layers with a small state of their own (the stream state of Qwen3-Omni's Talker).
    `least_block_tokens`: vLLM's block on this platform.
    """

    attention_layers: int
    state_layers: int
    token_bytes: int
    state_bytes: int
    states: int = 1
    row_bytes: int = 0
    single_states: int = 0
    least_block_tokens: int = GPU_BLOCK_TOKENS

    @property
    def block_tokens(self) -> int:
        """Tokens per attention page. A page must also be able to hold one layer's state."""
        least = self.least_block_tokens * self.token_bytes
        return self.least_block_tokens * max(1, -(-self.state_bytes // least))

    @property
    def block_bytes(self) -> int:
        """A block is a page of each layer of one group."""
        return self._group * self.page_bytes

    @property
    def page_bytes(self) -> int:
        return self.block_tokens * self.token_bytes

    @property
    def kv_bytes_per_token(self) -> int:
        """Keys and values of one token, without padding."""
        return self.attention_layers * self.token_bytes

    @property
    def row_layers(self) -> int:
        """Layers of the attention group that hold the hidden states (`row_bytes`)."""
        return -(-self.row_bytes // self.token_bytes)

    @property
    def token_groups(self) -> int:
        """Layer groups that keep every token: blocks of a request per `block_tokens` tokens."""
        return -(-self._kept // self._group)

    def request_blocks(self, tokens: int) -> int:
        """Blocks of one request of `tokens` tokens."""
        kinds = [
            (self._kept, -(-tokens // self.block_tokens)),
            (self.state_layers, self.states),
            (self.single_states, 1),
        ]
        return sum(-(-count // self._group) * blocks for count, blocks in kinds)

    def request_bytes(self, tokens: int) -> int:
        """Bytes of one request of `tokens` tokens."""
        return self.request_blocks(tokens) * self.block_bytes

    @property
    def _kept(self) -> int:
        return self.attention_layers + self.row_layers

    @property
    def _group(self) -> int:
        """Number of layers in each of vLLM's groups."""
        layers = [count for count in (self._kept, self.state_layers, self.single_states) if count]
        return max(layers) if max(layers) < 1.5 * min(layers) else min(layers)


def cache_pages(
    text: PreTrainedConfig,
    *,
    element_bytes: int,
    gpus: int = 1,
    states: int = 1,
    row_bytes: int = 0,
    single_states: int = 0,
    least_block_tokens: int = GPU_BLOCK_TOKENS,
) -> CachePages:
    """Layout for a backbone of either family. GPUs share keys and values by head, at least one head each."""
    heads = max(1, text.num_key_value_heads // gpus)
    kinds = getattr(text, "layer_types", None) or ["full_attention"] * text.num_hidden_layers
    state_layers = kinds.count("linear_attention")
    whole = state_bytes(text, element_bytes) // state_layers if state_layers else 0
    return CachePages(
        attention_layers=len(kinds) - state_layers,
        state_layers=state_layers,
        token_bytes=2 * heads * text.head_dim * element_bytes,
        state_bytes=whole // gpus,
        states=states,
        row_bytes=row_bytes,
        single_states=single_states,
        least_block_tokens=least_block_tokens,
    )
