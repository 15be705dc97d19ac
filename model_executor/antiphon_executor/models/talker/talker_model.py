"""The part of a Talker that all families share: one vLLM model of backbone, code predictor and vocoder.

The model draws code 0 itself and returns logits that leave vLLM's sampler that one choice. Codes and audio
of each frame go to the bridge. Streams find their state by slot.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import torch
from torch import nn
from transformers import PretrainedConfig
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import HasInnerState, IsHybrid

from antiphon_executor.ipc.frame_sender import FrameSender
from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.talker.code_predictor import CodePredictor
from antiphon_executor.models.talker.frame_step import FrameStep
from antiphon_executor.models.talker.slots import SlotPool, SlotShape
from antiphon_executor.models.talker.step.frame_end import SpeechHead
from antiphon_executor.models.talker.step.sound_order import joined, sound_order
from antiphon_executor.models.talker.step_rows import StepRows
from antiphon_executor.models.talker.stream_state import StreamState
from antiphon_executor.models.talker.streams import Streams

if TYPE_CHECKING:
    from vllm.v1.worker.gpu.model_states.interface import ModelState

    from antiphon_executor.models.talker.step.request_slots import RequestSlots

S = TypeVar("S", bound=Streams)


class TalkerModel(nn.Module, IsHybrid, HasInnerState):
    """Runs in one worker process; the scheduler reads the slots in the same process.

    A family sets the modules below, and calls `open_streams` after its weights are loaded.
    """

    is_hybrid: ClassVar[Literal[True]] = True
    has_inner_state: ClassVar[Literal[True]] = True

    config: PretrainedConfig
    codec_head: nn.Linear
    code_predictor: CodePredictor
    code2wav: StreamingCode2Wav
    state: StreamState

    def __init__(self, vllm_config: VllmConfig) -> None:
        super().__init__()
        if vllm_config.parallel_config.world_size != 1:
            raise ValueError("the Talker runs in one worker: tensor and pipeline parallel sizes must be 1")
        self.vllm_config = vllm_config
        self.step: FrameStep | None = None

    @property
    @abstractmethod
    def codec_embedding(self) -> nn.Embedding:
        """The embeddings of code 0 and of the codec's control ids: [codec_vocab, hidden]."""

    @abstractmethod
    def embed_rows(self, rows: StepRows, input_ids: torch.Tensor) -> torch.Tensor:
        """Input embeddings of a step's tokens: [N] ids → [N, hidden]."""

    @abstractmethod
    def run_backbone(self, positions: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
        """[N, hidden] → [N, hidden], after the final norm."""

    @classmethod
    @abstractmethod
    def get_model_state_cls(cls) -> type[ModelState]:
        """The state that vLLM's V2 runner keeps for the model; V1 does not ask."""

    def embed_input_ids(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Codec embeddings of [N] ids. vLLM requires the method; `forward` uses it in profiling runs only."""
        return self.codec_embedding(input_ids.clamp(max=self.config.codec_vocab_size - 1))

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        requests: RequestSlots | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """`input_ids`: [N]; `positions`: [N] or [3, N] → hidden states [N, hidden] after the final norm.

        `requests`: the slots, which V2's model state keeps; None on V1, where the state layer keeps them.
        """
        rows = self.state(input_ids, positions) if requests is None else requests.rows(len(input_ids))
        if rows is None or self.step is None:
            embedded = self.embed_input_ids(input_ids)
        else:
            embedded = self.embed_rows(rows, input_ids)
        if self.step is not None:
            self.step.begin(rows)
        return self.run_backbone(positions, embedded)

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Draws each request's frame from its last hidden state: [R, hidden] → logits [R, codec_vocab]."""
        if self.step is None:
            raise RuntimeError("the Talker's weights are not loaded")
        return self.step.finish(hidden_states)

    def open_streams(self, new_streams: Callable[[SlotPool], S], *, suppressed_tail: int) -> S:
        """Allocates the slots and the family's streams, and connects them with scheduler and bridge.

        `suppressed_tail`: how many of the last codec ids are never drawn.
        """
        weight = self.codec_head.weight
        given = self.vllm_config.additional_config
        order = sound_order(weight.device, given["vocoder_stream"])
        pool = SlotPool(
            SlotShape.of(self.config),
            dtype=weight.dtype,
            device=weight.device,
            reset_vocoder=joined(order, self.code2wav.reset),
        )
        streams = new_streams(pool)
        head = SpeechHead(
            codec_head=self.codec_head,
            embed_code0=self.codec_embedding,
            predictor=self.code_predictor,
            vocoder=self.code2wav,
            codec_eos=self.config.codec_eos_id,
            suppressed_tail=suppressed_tail,
        )
        self.code_predictor.window = given.get("predictor_window", 1)
        sender = FrameSender(
            given["frames_socket"],
            skip_samples=self.code2wav.lookahead_samples,
            device=pool.device,
        )
        self.state.streams, self.state.sender = streams, sender
        rows = pool.shape.slots + self.vllm_config.scheduler_config.max_num_seqs
        self.step = FrameStep(head, streams, sender, rows, order)
        return streams
