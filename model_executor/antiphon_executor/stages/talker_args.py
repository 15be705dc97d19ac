"""The Talker's engine arguments, by model family."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.v1.executor.uniproc_executor import UniProcExecutor

from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.models.aria.config import aria_talker_config
from antiphon_executor.models.qwen3_omni.config import talker_config
from antiphon_executor.models.talker.limits import TalkerLimits
from antiphon_executor.stages.worker_report import EXTENSION

# No module of a Talker is compiled, so vLLM must not count on it: norms and activations by its own kernels,
# and one CUDA graph of the backbone for each batch of decoding streams.
_ON_GPU: Mapping[str, Any] = MappingProxyType({"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY"})


def talker_engine_args(
    settings: EngineSettings,
    *,
    text_socket: str,
    frames_socket: str,
    pace_socket: str | None = None,
    activity: Path | None = None,
) -> AsyncEngineArgs:
    """Arguments for Qwen3-Omni. Sockets: ZeroMQ addresses of the bridge. No `pace_socket`: no pacing.

    `activity`: the file of `StageActivity`, for stages that share cores.
    """
    return AsyncEngineArgs(
        **_shared(settings),
        hf_overrides=partial(talker_config, limits=_limits(settings)),
        scheduler_cls="antiphon_executor.scheduling.dual_track_scheduler.DualTrackScheduler",
        additional_config={
            "text_socket": text_socket,
            **_shared_files(settings, frames_socket, pace_socket, activity),
        },
    )


def aria_talker_engine_args(
    settings: EngineSettings,
    *,
    frames_socket: str,
    pace_socket: str | None = None,
    activity: Path | None = None,
) -> AsyncEngineArgs:
    """Arguments for Qwen3.5-Omni, whose text arrives with the session's inputs."""
    return AsyncEngineArgs(
        **_shared(settings),
        hf_overrides=partial(aria_talker_config, limits=_limits(settings)),
        scheduler_cls="antiphon_executor.scheduling.scheduler.TalkerScheduler",
        additional_config=_shared_files(settings, frames_socket, pace_socket, activity),
        mamba_ssm_cache_dtype="float32",
    )


def _shared_files(
    settings: EngineSettings, frames_socket: str, pace_socket: str | None, activity: Path | None
) -> dict[str, Any]:
    """The part of `additional_config` that every family's scheduler and model read."""
    return {
        "frames_socket": frames_socket,
        "pace_socket": pace_socket,
        "pace": settings.talker.pace.model_dump(),
        "activity": str(activity) if activity else None,
        "one_per_step": settings.deterministic,
        "predictor_window": settings.talker.predictor_window,
        "vocoder_stream": settings.talker.vocoder_stream,
    }


def _limits(settings: EngineSettings) -> TalkerLimits:
    talker = settings.talker
    return TalkerLimits(slots=talker.streams, max_frames=talker.max_frames, media_rows=talker.media_rows)


def _shared(settings: EngineSettings) -> dict[str, Any]:
    talker = settings.talker
    on_gpu = torch.cuda.is_available()
    return {
        "model": str(settings.model),
        "served_model_name": settings.served_model_name or settings.model.name,
        "skip_tokenizer_init": True,
        "use_tqdm_on_load": False,
        "dtype": talker.dtype,
        "max_model_len": talker.max_model_len,
        "max_num_seqs": talker.streams,
        "max_num_batched_tokens": talker.batched_tokens(talker.streams),
        "enable_prefix_caching": False,
        "enforce_eager": talker.enforce_eager or not on_gpu,
        "async_scheduling": on_gpu,
        **({"compilation_config": dict(_ON_GPU)} if on_gpu else {}),
        "gpu_memory_utilization": talker.gpu_memory_utilization,
        "kv_cache_memory_bytes": talker.kv_cache_memory_bytes if on_gpu else talker.cpu_cache_bytes(),
        "num_gpu_blocks_override": talker.num_gpu_blocks_override,
        "distributed_executor_backend": UniProcExecutor,
        "worker_extension_cls": EXTENSION,
    }
