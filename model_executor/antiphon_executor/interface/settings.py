"""Settings of the engines, with every default. Names are vLLM's if the meaning is vLLM's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from antiphon_executor.shipped import ANTIPHON_NANO

DEFAULT_BATCHED_TOKENS = 2048

DType = Literal["auto", "bfloat16", "float32", "float16"]


def _keep_folder(given: object) -> object:
    """`./owner/name` is a folder, but a path forgets the dot that tells it from a name on the hub."""
    text = given if isinstance(given, str) else ""
    return Path(text).absolute() if text.startswith(("./", "../")) else given


ModelPath = Annotated[Path, BeforeValidator(_keep_folder)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _StageSettings(_Frozen):
    """Settings that both engines have.

    `cpu_cache_numbers`: default size of the KV cache on a CPU, in numbers, not bytes.
    """

    cpu_cache_numbers: ClassVar[int]

    dtype: DType = Field(
        "auto",
        description="Data type of weights and KV cache. auto: the checkpoint's own, but float32 on a CPU "
        "without AVX-512, which computes slowly in 16 bits.",
    )
    max_model_len: int | None = Field(
        None, ge=64, description="Maximum context in tokens. Default: the checkpoint's own."
    )
    max_num_batched_tokens: int | None = Field(
        None,
        ge=16,
        description="Maximum tokens per engine step (prefill chunk). Requests join and abort only between "
        "steps. Default 2048; on a CPU that it shares with the Talker, the Thinker takes at most 256 while a "
        "stream plays.",
    )
    enforce_eager: bool = Field(
        False,
        description="Disable compilation and CUDA graphs. On a CPU the Thinker runs compiled after `antiphon "
        "compile`, the Talker never.",
    )
    kv_cache_memory_bytes: int | None = Field(
        None,
        ge=1 << 20,
        description="Size of the KV cache in bytes. Default on a GPU: what is left of this engine's memory "
        "share; on a CPU: a fixed size.",
    )
    num_gpu_blocks_override: int | None = Field(
        None, ge=1, description="Number of KV cache blocks. For tests."
    )
    device: str | None = Field(None, description="CUDA_VISIBLE_DEVICES for this engine.")

    def cpu_cache_bytes(self) -> int:
        """KV cache size on a CPU: the operator's setting or the default."""
        default = self.cpu_cache_numbers * (4 if self.dtype == "float32" else 2)
        return self.kv_cache_memory_bytes or default

    def batched_tokens(self, sequences: int) -> int:
        """Tokens per step: the operator's setting, or the default but at least `sequences`."""
        return self.max_num_batched_tokens or max(DEFAULT_BATCHED_TOKENS, sequences)


class ThinkerSettings(_StageSettings):
    """The Thinker engine, which answers in text to text, audio, images and video."""

    cpu_cache_numbers: ClassVar[int] = 1 << 29

    max_num_seqs: int = Field(64, ge=1, le=4096, description="Maximum requests decoded at the same time.")
    enable_prefix_caching: bool = Field(
        True, description="Reuse the KV cache of prompts that begin with the same tokens."
    )
    tensor_parallel_size: int = Field(1, ge=1, description="Number of GPUs that share each layer.")
    enable_expert_parallel: bool = Field(
        False, description="Place whole experts on each GPU instead of a slice of every expert."
    )
    quantization: Literal["fp8"] | None = Field(
        None,
        description="fp8: quantize the layers to 8 bits while loading. Default: the checkpoint's own format.",
    )
    gpu_memory_utilization: float = Field(
        0.6, gt=0, le=1, description="Share of a GPU's memory for this engine."
    )


class GuardSettings(_Frozen):
    """Limits at which faulty speech is stopped. An unset limit is off; random weights are never checked."""

    frames_per_token: float | None = Field(
        25.0,
        gt=0,
        description="Maximum frames (80 ms each) per token of a complete text. Speech needs about 3 frames "
        "per token; a digit read slowly needs 8.",
    )
    spare_frames: int = Field(
        125,
        ge=0,
        description="Frames allowed in addition to frames_per_token, for laughter, pauses and numbers "
        "written as one token.",
    )
    cut_text: Literal["close", "leave"] = Field(
        "close",
        description="How the Talker receives a text that was cut by its token limit, a stop string or "
        "repetition. close: with a full stop at the end, so that the voice ends there. leave: unchanged.",
    )
    cut_stretch: float | None = Field(
        1.3,
        gt=1,
        description="Speech of a cut text takes at most this many times the frames that its voice usually "
        "needs. It ends at the first pause in the second half of that margin.",
    )
    cut_spare_frames: int = Field(
        8, ge=0, description="Frames (80 ms each) allowed in addition to cut_stretch."
    )
    cycle_frames: int | None = Field(
        75,
        ge=16,
        description="Maximum consecutive frames that repeat the codes of up to 16 frames before. Sampled "
        "speech never does so for a second.",
    )
    silent_frames: int | None = Field(
        75, ge=1, description="Maximum consecutive silent frames. A rhetorical pause takes a third of that."
    )
    silence_dbfs: float = Field(
        -55.0, lt=0, description="Level below which a frame is silent (root mean square, dBFS)."
    )


class PaceSettings(_Frozen):
    """How far ahead of its client speech is generated, and which streams are scheduled first."""

    park_s: float = Field(
        8.0,
        ge=1,
        description="Pause a stream that is this many seconds ahead of its client; resume it when half of "
        "that has been played.",
    )
    headroom: float = Field(
        0.1, ge=0, le=1, description="Share of real time that must stay free when a live stream is admitted."
    )
    scheduling: Literal["deadline", "fifo"] = Field(
        "deadline", description="Order of the streams. fifo is for comparison only: it underruns under load."
    )


class TalkerSettings(_StageSettings):
    """The Talker engine, which generates codec frames and the waveform in one worker."""

    cpu_cache_numbers: ClassVar[int] = 1 << 27

    streams: int = Field(
        16, ge=1, le=1024, description="Maximum spoken answers at the same time; each takes one slot."
    )
    max_frames: int = Field(4096, ge=1, description="Maximum frames (80 ms each) of a spoken answer.")
    media_rows: int = Field(
        65_536,
        ge=256,
        description="Multimodal hidden states (one per media token of a prompt) that all streams share.",
    )
    predictor_window: int = Field(
        1,
        ge=1,
        le=16,
        description="Maximum codes of a frame that one pass of the code predictor decides. Above 1 it "
        "guesses codes and keeps those that it then draws, so the codes are the same. A GPU also needs "
        "enforce_eager, as no CUDA graph can guess; the C++ kernel always decides one.",
    )
    vocoder_stream: Literal["own", "main"] = Field(
        "own",
        description="CUDA stream of the vocoder. own: the sound of a step is made while the next step "
        "begins; main: before it begins. A CPU has no streams.",
    )
    pace: PaceSettings = PaceSettings()
    guard: GuardSettings = GuardSettings()
    gpu_memory_utilization: float = Field(
        0.25, gt=0, le=1, description="Share of a GPU's memory for this engine."
    )


class WaitSettings(_Frozen):
    """Time limits inside a request. At a limit the request ends with an error."""

    media_rows_s: float = Field(
        30.0,
        gt=0,
        description="Maximum seconds from the end of the Thinker's prefill until the Talker has its "
        "multimodal hidden states.",
    )
    last_frames_s: float = Field(
        10.0,
        gt=0,
        description="Maximum seconds to wait for each outstanding frame after the Talker has finished.",
    )
    next_frame_s: float = Field(
        120.0,
        gt=0,
        description="Maximum seconds to wait for a frame when the text is complete and the client has "
        "consumed all speech so far.",
    )


class EngineSettings(_Frozen):
    """Both engines and the checkpoint that they share."""

    model: ModelPath = Field(
        default_factory=lambda: ANTIPHON_NANO,
        description="Folder of the checkpoint, or its name on the Hugging Face hub, such as "
        "Qwen/Qwen3-Omni-30B-A3B-Instruct. Default: antiphon-nano, which is part of Antiphon.",
    )
    revision: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="Branch, tag or commit of a model on the hub. Default: its main branch.",
    )
    served_model_name: str | None = Field(
        None, description="Model id in the API. Default: the name on the hub, or of the folder."
    )
    speech: bool = Field(True, description="Load the Talker. Without it the server answers in text only.")
    voices: Path | None = Field(None, description="Folder of voice files, in addition to the checkpoint's.")
    deterministic: bool = Field(
        False,
        description="A request with a seed gets the same text, codes and samples, byte for byte, at any load "
        "and on any day, on the same machine. Each step of an engine computes one request, nothing is reused "
        "between requests, and the number of threads is fixed; so several requests take longer.",
    )
    restarts: int = Field(
        5,
        ge=0,
        description="Maximum restarts of a dead engine within ten minutes. After that the server exits with "
        "a non-zero code; 0: at the first death.",
    )
    hang_s: float = Field(60.0, gt=0, description="Seconds without an answer until an engine counts as dead.")
    stuck_s: float = Field(
        3.0,
        gt=0,
        description="Seconds without an answer until /readyz reports an engine as stuck. Engines are pinged "
        "every second. On a CPU, an engine that is computing is not stuck.",
    )
    waits: WaitSettings = WaitSettings()
    thinker: ThinkerSettings = ThinkerSettings()
    talker: TalkerSettings = TalkerSettings()
