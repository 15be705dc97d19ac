"""What a request of a hybrid backbone holds: keys and values by token, and a state that does not grow.

In: a text config of the Qwen3.5 family. Out: bytes. Pure.
"""

from __future__ import annotations

from transformers import PreTrainedConfig

STATE_BYTES = 4  # gated-DeltaNet states are kept in float32


def kv_bytes_per_token(text: PreTrainedConfig, element_bytes: int) -> int:
    """Only full-attention layers keep keys and values."""
    layers = text.layer_types.count("full_attention")
    return layers * 2 * text.num_key_value_heads * text.head_dim * element_bytes


def state_bytes(text: PreTrainedConfig, element_bytes: int) -> int:
    """The recurrent state and the convolution's tail of all gated-DeltaNet layers of one request."""
    layers = text.layer_types.count("linear_attention")
    keys = text.linear_num_key_heads * text.linear_key_head_dim
    values = text.linear_num_value_heads * text.linear_value_head_dim
    recurrent = text.linear_num_value_heads * text.linear_key_head_dim * text.linear_value_head_dim
    tail = (text.linear_conv_kernel_dim - 1) * (2 * keys + values)
    return layers * (recurrent * STATE_BYTES + tail * element_bytes)
