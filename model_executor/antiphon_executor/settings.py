"""What an operator can set of the engines. Defaults stand here and nowhere else.

Names are vLLM's where the meaning is vLLM's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

DType = Literal["auto", "bfloat16", "float32", "float16"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ThinkerSettings(_Frozen):
    """The Thinker engine: text out of text, audio, images and video."""

    dtype: DType = "auto"
    max_model_len: int | None = Field(
        None, ge=64, description="Context in tokens; the checkpoint's own by default."
    )
    max_num_seqs: int = Field(16, ge=1, le=1024, description="Requests decoded at once.")
    max_num_batched_tokens: int = Field(
        2048, ge=16, description="Tokens computed in one step (the prefill chunk)."
    )
    enable_prefix_caching: bool = True
    tensor_parallel_size: int = Field(1, ge=1)
    enforce_eager: bool = False
    gpu_memory_utilization: float = Field(0.6, gt=0, le=1)
    kv_cache_memory_bytes: int | None = Field(
        None, ge=1 << 20, description="Fixed KV cache size; required on CPU."
    )
    num_gpu_blocks_override: int | None = Field(
        None, ge=1, description="Fixed number of KV blocks, for tests."
    )
    device: str | None = Field(None, description="CUDA_VISIBLE_DEVICES of this engine.")


class TalkerSettings(_Frozen):
    """The Talker engine: codes and waveform, one worker."""

    dtype: DType = "auto"
    max_model_len: int | None = Field(None, ge=64)
    streams: int = Field(16, ge=1, le=1024, description="Spoken answers at once; each holds a slot.")
    max_frames: int = Field(4096, ge=1, description="Longest spoken answer, in frames of 80 ms.")
    max_num_batched_tokens: int = Field(2048, ge=16)
    media_rows: int = Field(
        65_536, ge=256, description="Media rows of the user's prompt held for all streams."
    )
    enforce_eager: bool = False
    gpu_memory_utilization: float = Field(0.25, gt=0, le=1)
    kv_cache_memory_bytes: int | None = Field(None, ge=1 << 20)
    num_gpu_blocks_override: int | None = Field(
        None, ge=1, description="Fixed number of KV blocks, for tests."
    )
    device: str | None = None


class EngineSettings(_Frozen):
    """Both engines and the checkpoint they share."""

    model: Path
    served_model_name: str | None = None
    speech: bool = Field(True, description="Load the Talker; without it the server answers in text alone.")
    thinker: ThinkerSettings = ThinkerSettings()
    talker: TalkerSettings = TalkerSettings()
