"""The ARIA Talker as a vLLM model: hybrid backbone, code predictor and vocoder in one worker.

In: token ids that name prompt rows and text, or the code 0 drawn last. Out: to vLLM, logits that leave it one
choice, the code 0 drawn here; to the bridge, each frame's codes and sound. Streams meet their state by slot.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import HasInnerState, IsHybrid
from vllm.model_executor.models.qwen3_5 import Qwen3_5ForCausalLMBase
from vllm.model_executor.models.utils import maybe_prefix

from antiphon_executor.models.aria.backbone import AriaBackbone
from antiphon_executor.models.aria.config import AriaTalkerConfig
from antiphon_executor.models.aria.input_embeddings import AriaInputEmbeddings
from antiphon_executor.models.aria.streams import AriaStreams
from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.talker.code_predictor import CodePredictor
from antiphon_executor.models.talker.frame_step import FrameStep, SpeechHead, open_for_streams
from antiphon_executor.models.talker.slots import SlotPool, SlotShape
from antiphon_executor.models.talker.stream_state import HostedStreamState
from antiphon_executor.models.talker.weights import code_table, load_talker_weights


class Qwen3_5OmniTalker(nn.Module, IsHybrid, HasInnerState):  # noqa: N801
    """Registered as `AntiphonQwen3_5OmniTalker`. One worker: the scheduler reads the slots in this process.

    The vocoder computes in float32 whatever the rest does: it is small, and its sound is not to be rounded.
    """

    is_hybrid: ClassVar[Literal[True]] = True
    has_inner_state: ClassVar[Literal[True]] = True

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
        super().__init__()
        if vllm_config.parallel_config.world_size != 1:
            raise ValueError("the Talker runs in one worker: tensor and pipeline parallel sizes must be 1")
        config: AriaTalkerConfig = vllm_config.model_config.hf_config
        self.config = config
        self.vllm_config = vllm_config
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
        self.rows: AriaInputEmbeddings | None = None
        self.step: FrameStep | None = None

    def embed_input_ids(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Codec embeddings of [N] ids; vLLM asks for it, the forward pass builds its own rows."""
        return self.model.codec_embedding(input_ids.clamp(max=self.config.codec_vocab_size - 1))

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """`input_ids`, `positions`: [N] -> hidden states [N, hidden] after the final norm."""
        rows = self.state(input_ids, positions)
        if rows is None or self.streams is None or self.rows is None:
            embedded = self.embed_input_ids(input_ids)
        else:
            self.streams.enter(rows, input_ids)
            embedded = self.rows(self.streams, rows, input_ids)
        if self.step is not None:
            self.step.begin(rows)
        return self.model(positions, embedded)

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Draws each request's frame from its last hidden state. [R, hidden] -> logits [R, codec_vocab]."""
        if self.step is None:
            raise RuntimeError("the Talker's weights are not loaded")
        return self.step.finish(hidden_states)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        loaded = load_talker_weights(self, weights, self.vllm_config.model_config)
        self._open_for_streams()
        return loaded

    def _open_for_streams(self) -> None:
        config, weight = self.config, self.codec_head.weight
        tables = code_table(self.model.codec_embedding, self.code_predictor)
        self.rows = AriaInputEmbeddings(config, self.model, self.hidden_projection, tables)
        pool = SlotPool(
            SlotShape.of(config), dtype=weight.dtype, device=weight.device, reset_vocoder=self.code2wav.reset
        )
        self.streams = AriaStreams(
            pool,
            config.order,
            end_token=config.end_token,
            thinker_hidden=config.thinker_hidden_size,
            embed_prompt=self.rows.embed_prompt,
        )
        head = SpeechHead(
            codec_head=self.codec_head,
            embed_code0=self.model.codec_embedding,
            predictor=self.code_predictor,
            vocoder=self.code2wav,
            codec_eos=config.codec_eos_id,
            suppressed_tail=config.suppressed_codes,
        )
        self.step = open_for_streams(self.state, head, self.streams, self.vllm_config)
