"""What a request takes of an engine's cache: vLLM's pages, in arithmetic.

In: a text config, how many GPUs share each layer. Out: bytes on each of them. Pure. Follows vLLM 0.32's
`get_kv_cache_groups`: all blocks are equally large, each holds the pages of one group of layers.
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedConfig

from antiphon_executor.models.qwen3_5_omni.memory import state_bytes

# The smallest block of vLLM's attention kernels on a GPU; pages of a hybrid are grown to a multiple of it.
KERNEL_BLOCK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class CachePages:
    """`token_bytes`: keys and values of a token in one attention layer, on one GPU; `state_bytes`: one
    gated-DeltaNet layer's state there; `states`: how many a request keeps (two with prefix caching).

    `row_bytes`: of a row kept beside each token (the accept layer's), 0 for none; every GPU keeps them whole,
    in as many pages like attention's as they fill. `single_states`: layers with a small state of their own
    (the stream state of Qwen3-Omni's Talker).
    """

    attention_layers: int
    state_layers: int
    token_bytes: int
    state_bytes: int
    states: int = 1
    row_bytes: int = 0
    single_states: int = 0

    @property
    def block_tokens(self) -> int:
        """Tokens of an attention page, which must hold one layer's state too."""
        kernel = KERNEL_BLOCK_TOKENS * self.token_bytes
        return KERNEL_BLOCK_TOKENS * max(1, -(-self.state_bytes // kernel))

    @property
    def page_bytes(self) -> int:
        return self.block_tokens * self.token_bytes

    @property
    def kv_bytes_per_token(self) -> int:
        """Of keys and values alone, before they are laid out."""
        return self.attention_layers * self.token_bytes

    @property
    def row_layers(self) -> int:
        """Pages that a block's rows fill: layers of the attention layers' own group."""
        return -(-self.row_bytes // self.token_bytes)

    @property
    def spans(self) -> int:
        """Groups of layers that keep every token: so many blocks a request has for each `block_tokens`."""
        return -(-self._kept // self._group)

    def request_bytes(self, tokens: int) -> int:
        """Of one request of so many tokens."""
        kinds = [
            (self._kept, -(-tokens // self.block_tokens)),
            (self.state_layers, self.states),
            (self.single_states, 1),
        ]
        blocks = sum(-(-count // self._group) * blocks for count, blocks in kinds)
        return blocks * self._group * self.page_bytes

    @property
    def _kept(self) -> int:
        return self.attention_layers + self.row_layers

    @property
    def _group(self) -> int:
        """Layers in each of vLLM's groups."""
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
) -> CachePages:
    """Of a backbone of either family. Keys and values are shared out by head, and never below one head."""
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
    )
