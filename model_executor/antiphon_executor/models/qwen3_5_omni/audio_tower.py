"""AuT, the audio encoder as it is served: mel frames of one clip → rows of the Thinker's width, 7 per second.

Attention stays within blocks of 8 s, so a clip is encoded in chunks of whole blocks: memory does not grow
with its length, and the rows do not change. Reference: `reference.audio_encoder.AudioEncoder`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig
from vllm.model_executor.layers.attention.mm_encoder_attention import MMEncoderAttention
from vllm.model_executor.models.qwen3_omni_moe_thinker import (
    Qwen3OmniMoeAudioEncoder,
    Qwen3OmniMoeAudioEncoderLayer,
    SinusoidsPositionEmbedding,
)
from vllm.model_executor.models.utils import AutoWeightsLoader

from antiphon_executor.interface.audio_geometry import AudioGeometry

# 64 s of audio: at the published sizes the largest convolution plane then takes 200 MB.
CHUNK_BLOCKS = 8


class AudioTower(nn.Module):
    """Parameters: `conv2d1` … `conv2d4`, `conv_out`, `layers`, `ln_post`, `proj1`, `proj2`."""

    def __init__(self, config: PreTrainedConfig, prefix: str = "") -> None:
        super().__init__()
        self.geometry = AudioGeometry.of(config)
        self.block_windows: int = config.n_window_infer // self.geometry.window_frames
        self.halvings: int = config.downsample_times
        width, channels = config.d_model, config.downsample_hidden_size
        for number in range(1, self.halvings + 1):
            convolution = nn.Conv2d(1 if number == 1 else channels, channels, 3, stride=2, padding=1)
            self.add_module(f"conv2d{number}", convolution)
        bins = -(-config.num_mel_bins >> self.halvings)
        self.conv_out = nn.Linear(channels * bins, width, bias=False)
        self.positional_embedding = SinusoidsPositionEmbedding(config.max_source_positions, width)
        self.layers = nn.ModuleList(
            Qwen3OmniMoeAudioEncoderLayer(config, prefix=f"{prefix}.layers.{index}")
            for index in range(config.encoder_layers)
        )
        self.ln_post = nn.LayerNorm(width)
        self.proj1 = nn.Linear(width, width)
        self.proj2 = nn.Linear(width, config.output_dim)

    @property
    def dtype(self) -> torch.dtype:
        return self.proj2.weight.dtype

    def forward(self, mel: Tensor) -> Tensor:
        """`mel`: [mel_bins, frames] of one clip → [tokens, output_dim]."""
        frames = CHUNK_BLOCKS * self.block_windows * self.geometry.window_frames
        return torch.cat([self._encoded(chunk) for chunk in mel.split(frames, dim=1)])

    def _encoded(self, mel: Tensor) -> Tensor:
        rows = self._convolved(mel.to(self.conv_out.weight))[: self.geometry.tokens(mel.shape[1])]
        block = self.block_windows * self.geometry.window_tokens
        edges = np.append(np.arange(0, len(rows), block, dtype=np.int32), np.int32(len(rows)))
        attention: MMEncoderAttention = self.layers[0].self_attn.attn
        # On the host: attention reads the number.
        longest = torch.tensor(attention.compute_max_seqlen(attention.attn_backend, edges))
        places = torch.from_numpy(edges).to(rows.device)
        for layer in self.layers:
            rows = layer(rows, places, longest)
        return self.proj2(functional.gelu(self.proj1(self.ln_post(rows))))

    def _convolved(self, mel: Tensor) -> Tensor:
        """[windows * window_tokens, d_model]: each window is convolved alone, with its own positions."""
        frames = self.geometry.window_frames
        filled = functional.pad(mel, (0, -mel.shape[1] % frames))
        planes = filled.unflatten(1, (-1, frames)).transpose(0, 1).unsqueeze(1)
        for number in range(1, self.halvings + 1):
            planes = functional.gelu(self.get_submodule(f"conv2d{number}")(planes))
        rows = self.conv_out(planes.permute(0, 3, 1, 2).flatten(2))
        return (rows + self.positional_embedding(rows.shape[1]).to(rows.dtype)).flatten(0, 1)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        return AutoWeightsLoader(self).load_weights(
            weights, mapper=Qwen3OmniMoeAudioEncoder.hf_to_vllm_mapper
        )
