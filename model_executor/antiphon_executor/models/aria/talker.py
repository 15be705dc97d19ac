"""The ARIA Talker as a vLLM model: hybrid Qwen3.5 backbone with text and frames in one stream.

A token id names a row of the prompt or of text (`AriaVocabulary`), or is the code 0 that was drawn last.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.model_executor.models.qwen3_5 import Qwen3_5ForCausalLMBase
from vllm.model_executor.models.utils import maybe_prefix

from antiphon_executor.models.architectures import SPEAKER_CODES
from antiphon_executor.models.aria.backbone import AriaBackbone
from antiphon_executor.models.aria.config import AriaTalkerConfig
from antiphon_executor.models.aria.input_embeddings import AriaInputEmbeddings
from antiphon_executor.models.aria.streams import AriaStreams
from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.talker.code_predictor import CodePredictor
from antiphon_executor.models.talker.step_rows import StepRows
from antiphon_executor.models.talker.stream_state import HostedStreamState
from antiphon_executor.models.talker.talker_model import TalkerModel
from antiphon_executor.models.talker.weights import code_table, load_talker_weights

if TYPE_CHECKING:
    from vllm.v1.worker.gpu.model_states.interface import ModelState


class Qwen3_5OmniTalker(TalkerModel):  # noqa: N801
    """Registered as `AntiphonQwen3_5OmniTalker`.

    The vocoder computes in float32, whatever the dtype of the rest: it is small, and rounding is audible.
    """

    config: AriaTalkerConfig

    @classmethod
    def get_model_state_cls(cls) -> type[ModelState]:
        from antiphon_executor.models.talker.step.model_state import HybridTalkerModelState

        return HybridTalkerModelState

    @classmethod
    def get_mamba_state_shape_from_config(cls, vllm_config: VllmConfig) -> tuple[tuple[int, ...], ...]:
        return Qwen3_5ForCausalLMBase.get_mamba_state_shape_from_config(vllm_config)

    @classmethod
    def get_mamba_state_dtype_from_config(cls, vllm_config: VllmConfig) -> tuple[torch.dtype, ...]:
        return Qwen3_5ForCausalLMBase.get_mamba_state_dtype_from_config(vllm_config)

    @classmethod
    def get_mamba_state_copy_func(cls) -> tuple[Any, ...]:
        return Qwen3_5ForCausalLMBase.get_mamba_state_copy_func()

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__(vllm_config)
        config: AriaTalkerConfig = vllm_config.model_config.hf_config
        self.config = config
        hidden = config.hidden_size
        self.model = AriaBackbone(vllm_config, maybe_prefix(prefix, "model"))
        self.codec_head = nn.Linear(hidden, config.codec_vocab_size, bias=False)
        self.hidden_projection = nn.Linear(config.thinker_hidden_size, hidden)
        self.code_predictor = CodePredictor(config.code_predictor_config, hidden)
        self.code2wav = StreamingCode2Wav(config.code2wav_config, slots=config.slots + 1).float()
        self.state = HostedStreamState(
            maybe_prefix(prefix, "state"),
            vllm_config,
            slot_base=config.vocabulary.slot_base,
            slots=config.slots + 1,
            host=self.model.first_state,
        )
        self.streams: AriaStreams | None = None
        self.input_embeddings: AriaInputEmbeddings | None = None

    @property
    def codec_embedding(self) -> nn.Embedding:
        return self.model.codec_embedding

    def embed_rows(self, rows: StepRows, input_ids: torch.Tensor) -> torch.Tensor:
        if self.streams is None or self.input_embeddings is None:
            raise RuntimeError("the Talker's weights are not loaded")
        self.streams.enter(rows, input_ids)
        return self.input_embeddings(self.streams, rows, input_ids)

    def run_backbone(self, positions: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
        return self.model(positions, embedded)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        config = self.config
        # The built-in voices' codes come with each stream.
        aside = {SPEAKER_CODES: lambda _: None}
        loaded = load_talker_weights(self, weights, self.vllm_config.model_config, aside)
        tables = code_table(self.codec_embedding, self.code_predictor)
        embeddings = AriaInputEmbeddings(config, self.model, self.hidden_projection, tables)
        self.input_embeddings = embeddings
        self.streams = self.open_streams(
            partial(
                AriaStreams,
                order=config.order,
                end_token=config.end_token,
                thinker_hidden=config.thinker_hidden_size,
                embed_prompt=embeddings.embed_prompt,
            ),
            suppressed_tail=config.suppressed_codes,
        )
        return loaded
