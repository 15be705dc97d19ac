"""The end of a Talker step at the released sizes of Qwen3-Omni, on any device, the meta device included."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from antiphon_executor.models.torchvision_ops import define_missing_operators

define_missing_operators()

from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import (  # noqa: E402
    Qwen3OmniMoeCode2WavConfig,
    Qwen3OmniMoeTalkerCodePredictorConfig,
)

from antiphon_executor.ipc.frame_sender import StepFrames  # noqa: E402
from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav  # noqa: E402
from antiphon_executor.models.talker.code_predictor import CodePredictor  # noqa: E402
from antiphon_executor.models.talker.frame_step import FrameStep  # noqa: E402
from antiphon_executor.models.talker.slots import SlotPool, SlotShape  # noqa: E402
from antiphon_executor.models.talker.step.frame_end import SpeechHead  # noqa: E402
from antiphon_executor.models.talker.step.sound_order import InOrder, SoundOrder, joined  # noqa: E402
from antiphon_executor.models.talker.step_rows import StepRows  # noqa: E402
from antiphon_executor.models.talker.streams import FrameDraws  # noqa: E402

HIDDEN, CODEC_VOCABULARY, GROUPS, EOS = 1_024, 3_072, 16, 2_150
MAX_FRAMES = 64


@dataclass
class LastFrames:
    """In place of the sender: keeps the frames of the last step, and packs them as it does on a GPU."""

    frames: StepFrames | None = None
    packed: Tensor | None = None

    def send(self, step: StepFrames) -> None:
        self.frames = step
        self.packed = step.packed()


@dataclass
class AlwaysDrawing:
    """Streams whose every row draws the frame that `StepRows.seq_len` names."""

    pool: SlotPool

    def open(self, packed: bytes) -> None:
        raise NotImplementedError

    def close(self, slot: int) -> None:
        raise NotImplementedError

    def draws(self, rows: StepRows) -> FrameDraws:
        never = torch.zeros_like(rows.seq_len, dtype=torch.bool)
        return FrameDraws(frame=rows.seq_len, may_end=never, restarts=never)


@dataclass
class ReleasedStep:
    """`predictor`, `vocoder` and the whole `step`, for up to `streams` streams, with random weights."""

    streams: int
    device: torch.device
    dtype: torch.dtype
    order: SoundOrder = field(default_factory=InOrder)
    predictor: CodePredictor = field(init=False)
    vocoder: StreamingCode2Wav = field(init=False)
    step: FrameStep = field(init=False)
    sent: LastFrames = field(init=False, default_factory=LastFrames)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        with torch.device(self.device):
            self.predictor = CodePredictor(_predictor_config()).to(self.dtype)
            self.vocoder = StreamingCode2Wav(_vocoder_config(), slots=self.streams + 1).to(self.dtype)
            head = nn.Linear(HIDDEN, CODEC_VOCABULARY, bias=False, dtype=self.dtype)
            table = nn.Embedding(CODEC_VOCABULARY, HIDDEN, dtype=self.dtype)
        if self.device.type != "meta":
            for parameter in self.vocoder.parameters():
                parameter.data.normal_(0, 0.02)
        self.predictor.fuse()
        self.vocoder.derive_constants()
        shape = SlotShape(self.streams + 1, MAX_FRAMES, GROUPS, CODEC_VOCABULARY, HIDDEN, 16)
        reset = joined(self.order, self.vocoder.reset)
        pool = SlotPool(shape, dtype=self.dtype, device=self.device, reset_vocoder=reset)
        speech = SpeechHead(head, table, self.predictor, self.vocoder, EOS, 1_024)
        sender: Any = self.sent
        self.step = FrameStep(speech, AlwaysDrawing(pool), sender, rows=self.streams + 1, order=self.order)

    def begin(self, batch: int, frame: int = 0) -> None:
        """The step's first half, which runs before the backbone."""
        slot = torch.arange(1, batch + 1, device=self.device)
        at = torch.full((batch,), frame, dtype=torch.int64, device=self.device)
        self.step.begin(StepRows(slot, at, slot, at))

    def hidden(self, batch: int) -> Tensor:
        return torch.randn(batch, HIDDEN, device=self.device).to(self.dtype)


def _predictor_config() -> Qwen3OmniMoeTalkerCodePredictorConfig:
    return Qwen3OmniMoeTalkerCodePredictorConfig(
        vocab_size=2_048,
        hidden_size=HIDDEN,
        intermediate_size=3_072,
        num_hidden_layers=5,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        num_code_groups=GROUPS,
    )


def _vocoder_config() -> Qwen3OmniMoeCode2WavConfig:
    return Qwen3OmniMoeCode2WavConfig(
        codebook_size=2_048,
        num_quantizers=GROUPS,
        hidden_size=HIDDEN,
        num_hidden_layers=8,
        sliding_window=72,
        upsampling_ratios=[2, 2],
        upsample_rates=[8, 5, 4, 3],
        decoder_dim=1_536,
    )
