"""Qwen3-Omni's Talker as a vLLM model: MoE backbone with text on a track of its own.

A token id names a row of the prompt (`TalkerVocabulary`) or is the code 0 that was drawn last.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import SupportsMRoPE
from vllm.model_executor.models.utils import maybe_prefix

from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.qwen3_omni.backbone import TalkerBackbone
from antiphon_executor.models.qwen3_omni.config import TalkerConfig
from antiphon_executor.models.qwen3_omni.dual_track_streams import DualTrackStreams
from antiphon_executor.models.qwen3_omni.input_embeddings import InputEmbeddings
from antiphon_executor.models.qwen3_omni.text_projection import EMBEDDING, ResizeMLP, project_text_table
from antiphon_executor.models.talker.code_predictor import CodePredictor
from antiphon_executor.models.talker.sampling import SUPPRESSED_TAIL
from antiphon_executor.models.talker.step_rows import StepRows
from antiphon_executor.models.talker.stream_state import StreamState
from antiphon_executor.models.talker.talker_model import TalkerModel
from antiphon_executor.models.talker.weights import code_table, load_talker_weights

if TYPE_CHECKING:
    from vllm.v1.worker.gpu.model_states.interface import ModelState


class Qwen3OmniTalker(TalkerModel, SupportsMRoPE):
    """Registered as `AntiphonQwen3OmniTalker`."""

    supports_mrope: ClassVar[Literal[True]] = True
    config: TalkerConfig

    @classmethod
    def get_model_state_cls(cls) -> type[ModelState]:
        from antiphon_executor.models.talker.step.model_state import TalkerModelState

        return TalkerModelState

    @classmethod
    def get_mamba_state_shape_from_config(cls, vllm_config: VllmConfig) -> tuple[tuple[int, ...], ...]:
        return StreamState.state_shape()

    @classmethod
    def get_mamba_state_dtype_from_config(cls, vllm_config: VllmConfig) -> tuple[torch.dtype, ...]:
        return StreamState.state_dtype()

    @classmethod
    def get_mamba_state_copy_func(cls) -> tuple[Any, ...]:
        return ()

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config)
        config: TalkerConfig = vllm_config.model_config.hf_config
        self.config = config
        self.model = TalkerBackbone(vllm_config, maybe_prefix(prefix, "model"))
        self.codec_head = nn.Linear(config.hidden_size, config.codec_vocab_size, bias=False)
        self.text_projection = ResizeMLP(
            config.thinker_hidden_size, config.intermediate_size, config.hidden_size
        )
        self.hidden_projection = ResizeMLP(
            config.thinker_hidden_size, config.intermediate_size, config.hidden_size
        )
        self.code_predictor = CodePredictor(config.code_predictor_config)
        self.code2wav = StreamingCode2Wav(config.code2wav_config, slots=config.slots + 1)
        self.input_embeddings = InputEmbeddings(config)
        self.state = StreamState(
            maybe_prefix(prefix, f"model.layers.{config.backbone_layers}.state"),
            vllm_config,
            slot_base=config.vocabulary.slot_base,
            slots=config.slots + 1,
        )
        self.streams: DualTrackStreams | None = None

    @property
    def codec_embedding(self) -> nn.Embedding:
        return self.model.codec_embedding

    def get_mrope_input_positions(
        self, input_tokens: list[int], mm_features: list[Any]
    ) -> tuple[torch.Tensor, int]:
        """TM-RoPE positions [3, len(input_tokens)] of the stream that the first token names.

        A request that resumes after a preemption brings its generated tokens along. Tokens of no open stream,
        with which vLLM warms up, count from 0.
        """
        if self.streams is None:
            raise RuntimeError("the Talker's weights are not loaded")
        placed = self.streams.positions(input_tokens[0] - self.config.vocabulary.slot_base)
        if placed is None:
            return torch.arange(len(input_tokens)).expand(3, -1), 0
        positions, delta = placed
        prompt = positions.shape[1]
        if len(input_tokens) > prompt:
            generated = torch.arange(prompt, len(input_tokens)) + delta
            positions = torch.cat([positions, generated.expand(3, -1)], dim=1)
        return positions[:, : len(input_tokens)], delta

    def embed_rows(self, rows: StepRows, input_ids: torch.Tensor) -> torch.Tensor:
        return self.input_embeddings(self.streams, rows, input_ids)

    def run_backbone(self, positions: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
        return self.model(positions, embedded)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        embedding: list[torch.Tensor] = []
        aside = {EMBEDDING: embedding.append}
        loaded = load_talker_weights(self, weights, self.vllm_config.model_config, aside)
        if not embedding:
            raise ValueError(f"the checkpoint has no {EMBEDDING}")
        # The Thinker's embedding table is projected once and dropped, so that a text row is one gather.
        table, weight = self.input_embeddings, embedding[0].to(self.codec_head.weight)
        table.text_table = project_text_table(weight, self.text_projection)
        table.code_table, table.code_offsets = code_table(self.codec_embedding, self.code_predictor)
        self.streams = self.open_streams(
            partial(
                DualTrackStreams,
                tts_pad=self.config.tts_pad_id,
                thinker_hidden=self.config.thinker_hidden_size,
                project_media=self.hidden_projection,
            ),
            suppressed_tail=SUPPRESSED_TAIL,
        )
        return loaded
