"""Memory per request of a hybrid backbone: keys and values by token, and a state of constant size.

`text`: a text configuration of the Qwen3.5 family. All results are bytes.
"""

from __future__ import annotations

from transformers import PreTrainedConfig

STATE_BYTES = 4  # gated-DeltaNet states are in float32


def kv_bytes_per_token(text: PreTrainedConfig, element_bytes: int) -> int:
    """Bytes per token; only full-attention layers have keys and values."""
    layers = text.layer_types.count("full_attention")
    return layers * 2 * text.num_key_value_heads * text.head_dim * element_bytes


def state_bytes(text: PreTrainedConfig, element_bytes: int) -> int:
    """Bytes of one request's recurrent states and convolution tails in all gated-DeltaNet layers."""
    layers = text.layer_types.count("linear_attention")
    keys = text.linear_num_key_heads * text.linear_key_head_dim
    values = text.linear_num_value_heads * text.linear_value_head_dim
    recurrent = text.linear_num_value_heads * text.linear_key_head_dim * text.linear_value_head_dim
    tail = (text.linear_conv_kernel_dim - 1) * (2 * keys + values)
    return layers * (recurrent * STATE_BYTES + tail * element_bytes)
