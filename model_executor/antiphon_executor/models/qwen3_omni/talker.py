"""The Talker as a vLLM model: backbone, code predictor and vocoder in one worker.

In: token ids that name prompt rows, or the code 0 drawn last. Out: to vLLM, logits that leave it one choice,
the code 0 drawn here; to the bridge, each frame's codes and sound. Streams meet their state by slot.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import HasInnerState, IsHybrid, SupportsMRoPE
from vllm.model_executor.models.utils import maybe_prefix

from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.qwen3_omni.backbone import TalkerBackbone
from antiphon_executor.models.qwen3_omni.config import TalkerConfig
from antiphon_executor.models.qwen3_omni.dual_track_streams import DualTrackStreams
from antiphon_executor.models.qwen3_omni.input_embeddings import InputEmbeddings
from antiphon_executor.models.qwen3_omni.text_projection import EMBEDDING, ResizeMLP, project_text_table
from antiphon_executor.models.talker.code_predictor import CodePredictor
from antiphon_executor.models.talker.frame_step import FrameStep, SpeechHead, open_for_streams
from antiphon_executor.models.talker.sampling import SUPPRESSED_TAIL
from antiphon_executor.models.talker.slots import SlotPool, SlotShape
from antiphon_executor.models.talker.stream_state import StreamState
from antiphon_executor.models.talker.weights import code_table, load_talker_weights


class Qwen3OmniTalker(nn.Module, IsHybrid, HasInnerState, SupportsMRoPE):
    """Registered as `AntiphonQwen3OmniTalker`. One worker: the scheduler reads the slots in this process."""

    is_hybrid: ClassVar[Literal[True]] = True
    has_inner_state: ClassVar[Literal[True]] = True
    supports_mrope: ClassVar[Literal[True]] = True

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
        super().__init__()
        if vllm_config.parallel_config.world_size != 1:
            raise ValueError("the Talker runs in one worker: tensor and pipeline parallel sizes must be 1")
        config: TalkerConfig = vllm_config.model_config.hf_config
        self.config = config
        self.vllm_config = vllm_config
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
        self.step: FrameStep | None = None

    def embed_input_ids(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Codec embeddings of [N] ids; vLLM asks for it, the forward pass builds its own rows."""
        return self.model.codec_embedding(input_ids.clamp(max=self.config.codec_vocab_size - 1))

    def get_mrope_input_positions(
        self, input_tokens: list[int], mm_features: list[Any]
    ) -> tuple[torch.Tensor, int]:
        """TM-RoPE positions [3, len(input_tokens)] of the stream that the first token names.

        A request that resumes after a preemption brings its generated tokens along.
        """
        if self.streams is None:
            raise RuntimeError("the Talker's weights are not loaded")
        positions, delta = self.streams.positions(input_tokens[0] - self.config.vocabulary.slot_base)
        prompt = positions.shape[1]
        if len(input_tokens) > prompt:
            generated = torch.arange(prompt, len(input_tokens)) + delta
            positions = torch.cat([positions, generated.expand(3, -1)], dim=1)
        return positions[:, : len(input_tokens)], delta

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """`input_ids`: [N]; `positions`: [3, N] -> hidden states [N, hidden] after the final norm."""
        rows = self.state(input_ids, positions)
        if rows is None or self.streams is None:
            embedded = self.embed_input_ids(input_ids)
        else:
            embedded = self.input_embeddings(self.streams, rows, input_ids)
        if self.step is not None:
            self.step.begin(rows)
        return self.model(positions, embedded)

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Draws each request's frame from its last hidden state. [R, hidden] -> logits [R, codec_vocab]."""
        if self.step is None:
            raise RuntimeError("the Talker's weights are not loaded")
        return self.step.finish(hidden_states)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        embedding: list[torch.Tensor] = []
        aside = {EMBEDDING: embedding.append}
        loaded = load_talker_weights(self, weights, self.vllm_config.model_config, aside)
        if not embedding:
            raise ValueError(f"the checkpoint has no {EMBEDDING}")
        # The Thinker's embedding table is projected once and dropped: a text row is then one gather.
        rows, weight = self.input_embeddings, embedding[0].to(self.codec_head.weight)
        rows.text_table = project_text_table(weight, self.text_projection)
        rows.code_table, rows.code_offsets = code_table(self.model.codec_embedding, self.code_predictor)
        self._open_for_streams()
        return loaded

    def _open_for_streams(self) -> None:
        config, weight = self.config, self.codec_head.weight
        pool = SlotPool(
            SlotShape.of(config),
            dtype=weight.dtype,
            device=weight.device,
            reset_vocoder=self.code2wav.reset,
        )
        self.streams = DualTrackStreams(
            pool,
            tts_pad=config.tts_pad_id,
            thinker_hidden=config.thinker_hidden_size,
            project_media=self.hidden_projection,
        )
        head = SpeechHead(
            codec_head=self.codec_head,
            embed_code0=self.model.codec_embedding,
            predictor=self.code_predictor,
            vocoder=self.code2wav,
            codec_eos=config.codec_eos_id,
            suppressed_tail=SUPPRESSED_TAIL,
        )
        self.step = open_for_streams(self.state, head, self.streams, self.vllm_config)
