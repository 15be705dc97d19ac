"""AuT, the audio encoder: mel frames → rows of the Thinker's width, 7 per second.

Qwen3-Omni's encoder (transformers' `Qwen3OmniMoeAudioEncoder`) with a fourth convolution and the same tensor
names. Assumption, as it is not public: attention blocks of 8 s. The last window is padded with zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import (
    Qwen3OmniMoeAudioEncoderLayer,
    Qwen3OmniMoePreTrainedModel,
    SinusoidsPositionEmbedding,
)

from antiphon_executor.interface.audio_geometry import AudioGeometry
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeAudioConfig


class AudioEncoder(Qwen3OmniMoePreTrainedModel):
    """Parameters: `conv2d1` … `conv2d4`, `conv_out`, `layers`, `ln_post`, `proj1`, `proj2`."""

    config_class = Qwen3_5OmniMoeAudioConfig
    main_input_name = "mel"

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self.geometry = AudioGeometry.of(config)
        width, channels = config.d_model, config.downsample_hidden_size
        for number in range(1, config.downsample_times + 1):
            convolution = nn.Conv2d(1 if number == 1 else channels, channels, 3, stride=2, padding=1)
            self.add_module(f"conv2d{number}", convolution)
        bins = -(-config.num_mel_bins >> config.downsample_times)
        self.conv_out = nn.Linear(channels * bins, width, bias=False)
        self.positional_embedding = SinusoidsPositionEmbedding(config.max_source_positions, width)
        self.layers = nn.ModuleList(
            Qwen3OmniMoeAudioEncoderLayer(config) for _ in range(config.encoder_layers)
        )
        self.ln_post = nn.LayerNorm(width)
        self.proj1 = nn.Linear(width, width)
        self.proj2 = nn.Linear(width, config.output_dim)
        self.post_init()

    def forward(self, mel: Tensor) -> Tensor:
        """`mel`: [mel_bins, frames] of one clip → [tokens, output_dim]."""
        rows = self._convolved(mel)[: self.geometry.tokens(mel.shape[1])]
        block = self.config.n_window_infer // self.geometry.window_frames * self.geometry.window_tokens
        edges = torch.arange(0, len(rows) + block, block, dtype=torch.int32, device=mel.device)
        for layer in self.layers:
            (rows,) = layer(rows, edges.clamp(max=len(rows)))
        return self.proj2(functional.gelu(self.proj1(self.ln_post(rows))))

    def _convolved(self, mel: Tensor) -> Tensor:
        """[windows * window_tokens, d_model]: each window is convolved alone, with its own positions."""
        frames = self.geometry.window_frames
        filled = functional.pad(mel, (0, -mel.shape[1] % frames))
        windows = filled.unflatten(1, (-1, frames)).transpose(0, 1).unsqueeze(1)
        rows = torch.cat([self._window_rows(part) for part in windows.split(self.config.conv_chunksize)])
        return (rows + self.positional_embedding(rows.shape[1])).flatten(0, 1)

    def _window_rows(self, planes: Tensor) -> Tensor:
        """[windows, 1, mel_bins, frames] → [windows, window_tokens, d_model]."""
        for number in range(1, self.config.downsample_times + 1):
            planes = functional.gelu(self.get_submodule(f"conv2d{number}")(planes))
        return self.conv_out(planes.permute(0, 3, 1, 2).flatten(2))
