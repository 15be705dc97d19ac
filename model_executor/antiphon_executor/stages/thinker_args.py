"""The Thinker's engine arguments (`AsyncEngineArgs`), from the operator's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vllm import AsyncEngineArgs
from vllm.config import KVTransferConfig, StructuredOutputsConfig
from vllm.platforms import current_platform
from vllm.v1.executor.uniproc_executor import UniProcExecutor

from antiphon_executor.checkpoint.family import family_of, read_config
from antiphon_executor.checkpoint.quantization import thinker_quantization
from antiphon_executor.interface.capacity import FEATURE_CACHE_BYTES
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.interface.tokenizer_files import tokenizer_folder
from antiphon_executor.ipc.stage_activity import ACTIVITY
from antiphon_executor.models.architectures import HIDDEN_STATES_CONNECTOR
from antiphon_executor.planning.kv_pages import CPU_BLOCK_TOKENS
from antiphon_executor.scheduling.thinker_scheduler import (
    LONG_PROMPT_SHARE,
    AsyncOneRequestThinkerScheduler,
    AsyncThinkerScheduler,
    OneRequestThinkerScheduler,
    ThinkerScheduler,
)
from antiphon_executor.stages.compilation import runs_compiled
from antiphon_executor.stages.cpu_worker import CPU_WORKER
from antiphon_executor.stages.grammar import BACKEND
from antiphon_executor.stages.worker_report import EXTENSION

# Items of each kind in one prompt, windows counted apart. The context is the actual limit; the server's
# admission has its own.
MEDIA_PER_PROMPT = 8_192
# Features of media that the engine keeps for later turns: 10 hours of audio in 16 bits.
FEATURE_CACHE_GIB = FEATURE_CACHE_BYTES / (1 << 30)

# By whether the stage runs on a CPU, and by `deterministic`.
_SCHEDULERS = {
    (True, False): ThinkerScheduler,
    (False, False): AsyncThinkerScheduler,
    (True, True): OneRequestThinkerScheduler,
    (False, True): AsyncOneRequestThinkerScheduler,
}


def thinker_engine_args(
    settings: EngineSettings, hidden_states_socket: str | None, activity: Path | None = None
) -> AsyncEngineArgs:
    """`hidden_states_socket`: ZeroMQ address of the bridge's PULL socket; None without a Talker.

    `activity`: the file of `StageActivity`, for stages that share cores.
    """
    thinker, config = settings.thinker, read_config(settings.model)
    family, quantization = family_of(config), thinker_quantization(config)
    on_cpu = current_platform.is_cpu()
    cache_bytes = thinker.cpu_cache_bytes() if on_cpu else thinker.kv_cache_memory_bytes
    step_tokens = thinker.batched_tokens(thinker.max_num_seqs)
    optional: dict[str, Any] = {
        "max_model_len": thinker.max_model_len,
        "num_gpu_blocks_override": thinker.num_gpu_blocks_override,
        "kv_cache_memory_bytes": cache_bytes,
        "quantization": thinker.quantization,
    }
    if on_cpu:
        optional["worker_cls"] = CPU_WORKER
        # vLLM makes it larger for a hybrid model. A size of its own choice it sets back to this one when the
        # engine has started. Steps then end inside of blocks: states are lost, or kept for the wrong tokens.
        optional["block_size"] = CPU_BLOCK_TOKENS
    if thinker.tensor_parallel_size == 1:
        # On a CPU vLLM's default is a separate worker process, and both processes spin while they wait.
        optional["distributed_executor_backend"] = UniProcExecutor
    if hidden_states_socket is not None:
        optional["kv_transfer_config"] = _hidden_states_transfer(hidden_states_socket, activity)
    return AsyncEngineArgs(
        model=str(settings.model),
        tokenizer=str(tokenizer_folder(settings.model)),
        served_model_name=settings.served_model_name or settings.model.name,
        hf_overrides={"architectures": [family.thinker]}
        | ({} if quantization is None else {"quantization_config": quantization}),
        dtype=thinker.dtype,
        max_num_seqs=thinker.max_num_seqs,
        max_num_batched_tokens=step_tokens,
        long_prefill_token_threshold=min(
            step_tokens // LONG_PROMPT_SHARE, thinker.max_model_len or step_tokens
        ),
        enable_prefix_caching=thinker.enable_prefix_caching,
        prefix_cache_retention_interval=None,
        enable_chunked_prefill=True,
        tensor_parallel_size=thinker.tensor_parallel_size,
        enable_expert_parallel=thinker.enable_expert_parallel,
        enforce_eager=not runs_compiled(settings),
        gpu_memory_utilization=thinker.gpu_memory_utilization,
        # Without this cache and the prefix cache, vLLM encodes the media of each request.
        mm_processor_cache_gb=0 if settings.deterministic else FEATURE_CACHE_GIB,
        limit_mm_per_prompt=dict.fromkeys(("audio", "image", "video"), MEDIA_PER_PROMPT),
        structured_outputs_config=StructuredOutputsConfig(backend=BACKEND),
        enable_log_requests=False,
        scheduler_cls=_SCHEDULERS[on_cpu, settings.deterministic],
        worker_extension_cls=EXTENSION,
        use_tqdm_on_load=False,
        **family.thinker_arguments,
        **{name: value for name, value in optional.items() if value is not None},
    )


def _hidden_states_transfer(socket: str, activity: Path | None) -> KVTransferConfig:
    return KVTransferConfig(
        kv_connector=HIDDEN_STATES_CONNECTOR,
        # As a consumer, vLLM would expect embeddings from elsewhere and free blocks late.
        kv_role="kv_producer",
        # The paths are new at each start; `additional_config` is a part of the compile cache's key.
        kv_connector_extra_config={
            "hidden_states_socket": socket,
            ACTIVITY: str(activity) if activity else None,
        },
    )
