"""What an operator can set of the engines. Defaults stand here and nowhere else.

Names are vLLM's where the meaning is vLLM's.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from antiphon_executor.shipped import ANTIPHON_NANO

GPU_BATCHED_TOKENS = 2048

DType = Literal["auto", "bfloat16", "float32", "float16"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _StageSettings(_Frozen):
    """What both engines have."""

    cpu_batched_tokens: ClassVar[int]
    cpu_cache_numbers: ClassVar[int]

    dtype: DType = Field(
        "auto",
        description="Number format of weights and cache; the checkpoint's own by default, and float32 on a "
        "CPU without AVX-512, which is slow in others.",
    )
    max_model_len: int | None = Field(
        None, ge=64, description="Context in tokens; the checkpoint's own by default."
    )
    max_num_batched_tokens: int | None = Field(
        None,
        ge=16,
        description="Tokens computed in one step (the prefill chunk), in which nobody gets on and nobody "
        "can leave; 2048 by default, 256 of the Thinker on a CPU.",
    )
    enforce_eager: bool = Field(False, description="No compilation and no CUDA graphs.")
    kv_cache_memory_bytes: int | None = Field(
        None, ge=1 << 20, description="Fixed KV cache size; on a CPU there is always one."
    )
    num_gpu_blocks_override: int | None = Field(
        None, ge=1, description="Fixed number of KV blocks, for tests."
    )
    device: str | None = Field(None, description="CUDA_VISIBLE_DEVICES of this engine.")

    def cpu_cache_bytes(self) -> int:
        """On a CPU: what is set, or the default of so many numbers."""
        usual = self.cpu_cache_numbers * (4 if self.dtype == "float32" else 2)
        return self.kv_cache_memory_bytes or usual

    def batched_tokens(self, sequences: int, on_cpu: bool) -> int:
        """Of one step: what is set, or the default, and then no fewer than `sequences`."""
        usual = self.cpu_batched_tokens if on_cpu else GPU_BATCHED_TOKENS
        return self.max_num_batched_tokens or max(usual, sequences)


class ThinkerSettings(_StageSettings):
    """The Thinker engine: text out of text, audio, images and video.

    On a CPU, where none is set: `cpu_cache_numbers` in the KV cache, and steps of `cpu_batched_tokens`.
    """

    cpu_cache_numbers: ClassVar[int] = 1 << 29
    cpu_batched_tokens: ClassVar[int] = 256

    max_num_seqs: int = Field(16, ge=1, le=1024, description="Requests decoded at once.")
    enable_prefix_caching: bool = Field(True, description="Keep the cache of prompts that begin alike.")
    tensor_parallel_size: int = Field(1, ge=1, description="GPUs that share each layer.")
    enable_expert_parallel: bool = Field(
        False, description="Whole experts on each of those GPUs, instead of a slice of every expert."
    )
    quantization: Literal["fp8"] | None = Field(
        None, description="fp8: layers in 8 bits, made at load; the checkpoint's own format by default."
    )
    gpu_memory_utilization: float = Field(
        0.6, gt=0, le=1, description="Share of a GPU's memory for this engine."
    )


class GuardSettings(_Frozen):
    """When speech is stopped. A limit that is not set is not held; random weights are never judged."""

    frames_per_token: float | None = Field(
        25.0,
        gt=0,
        description="Frames of 80 ms for each token of complete text. Speech needs about 3; a digit read "
        "slowly 8.",
    )
    spare_frames: int = Field(
        125, ge=0, description="Frames beyond that: a laugh, a pause, a number written as one token."
    )
    cut_text: Literal["close", "leave"] = Field(
        "close",
        description="close: a text that was cut (by its limit, a stop string or repetition) reaches the "
        "Talker with a full stop behind it, so that the voice ends there; leave: as it is.",
    )
    cut_stretch: float | None = Field(
        1.3,
        gt=1,
        description="Speech whose text was cut takes at most this many times the frames that its voice "
        "needs for the text; it ends in a pause from halfway on.",
    )
    cut_spare_frames: int = Field(8, ge=0, description="Frames of 80 ms beyond that.")
    cycle_frames: int | None = Field(
        75,
        ge=16,
        description="Frames that repeat, code for code, those of up to 16 frames before. Drawn speech never "
        "does so for a second.",
    )
    silent_frames: int | None = Field(
        75, ge=1, description="Frames of silence in a row. A pause for effect takes a third of that."
    )
    silence_dbfs: float = Field(
        -55.0, lt=0, description="A frame is silent below this level (root mean square, full scale 0)."
    )


class PaceSettings(_Frozen):
    """How far ahead of its client speech is made, and who goes first."""

    park_s: float = Field(
        8.0, ge=1, description="A stream this far ahead of its client rests until half of it is played."
    )
    headroom: float = Field(
        0.1, ge=0, le=1, description="Share of real time that a further listened-to stream must leave free."
    )
    scheduling: Literal["deadline", "fifo"] = Field(
        "deadline", description="fifo is there to compare with: streams run dry under load."
    )


class TalkerSettings(_StageSettings):
    """The Talker engine: codes and waveform, one worker. On a CPU as the Thinker's."""

    cpu_cache_numbers: ClassVar[int] = 1 << 27
    cpu_batched_tokens: ClassVar[int] = 2048

    streams: int = Field(16, ge=1, le=1024, description="Spoken answers at once; each holds a slot.")
    max_frames: int = Field(4096, ge=1, description="Longest spoken answer, in frames of 80 ms.")
    media_rows: int = Field(
        65_536, ge=256, description="Media rows of the user's prompt held for all streams."
    )
    pace: PaceSettings = PaceSettings()
    guard: GuardSettings = GuardSettings()
    gpu_memory_utilization: float = Field(
        0.25, gt=0, le=1, description="Share of a GPU's memory for this engine."
    )


class WaitSettings(_Frozen):
    """How long an answer waits for what it is still owed. Then it ends with an error."""

    media_rows_s: float = Field(
        30.0, gt=0, description="For the Thinker's media rows, once its prompt has been computed."
    )
    last_frames_s: float = Field(
        10.0, gt=0, description="For each frame that is still under way once the Talker has ended."
    )
    next_frame_s: float = Field(
        120.0,
        gt=0,
        description="For a frame, once the text is complete and the client has taken all there was.",
    )


class EngineSettings(_Frozen):
    """Both engines and the checkpoint they share."""

    model: Path = Field(
        default_factory=lambda: ANTIPHON_NANO,
        description="The checkpoint's folder; antiphon-nano, which comes with Antiphon, by default.",
    )
    served_model_name: str | None = Field(
        None, description="The model's id in the API; the folder's name by default."
    )
    speech: bool = Field(True, description="Load the Talker; without it the server answers in text alone.")
    voices: Path | None = Field(None, description="A folder of voice files, beside those of the checkpoint.")
    restarts: int = Field(
        5,
        ge=0,
        description="How often a dead engine is started again within ten minutes; 0: the server ends.",
    )
    hang_s: float = Field(
        60.0, gt=0, description="Seconds without an answer after which an engine counts as dead."
    )
    stuck_s: float = Field(
        3.0,
        gt=0,
        description="Seconds without an answer after which /readyz says that an engine is stuck; pings come "
        "every second. On a CPU an engine that computes is in a long step, not stuck.",
    )
    waits: WaitSettings = WaitSettings()
    thinker: ThinkerSettings = ThinkerSettings()
    talker: TalkerSettings = TalkerSettings()
