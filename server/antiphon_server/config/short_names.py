"""Short names of common settings: the flags of `antiphon serve --help` and their `ANTIPHON_*` variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Topic = Literal["model", "address and access", "engine", "process"]


@dataclass(frozen=True, slots=True)
class ShortName:
    """`settings`: dotted names that one value sets. `brief`: help of at most 42 characters; empty if rare."""

    topic: Topic
    settings: tuple[str, ...]
    placeholder: str
    brief: str = ""


# vLLM's name if the meaning is vLLM's.
SHORT_NAMES: dict[str, ShortName] = {
    "model": ShortName("model", ("engine.model",), "MODEL"),
    "revision": ShortName("model", ("engine.revision",), "NAME"),
    "tier": ShortName("model", ("tier",), "", "engine preset for a kind of machine"),
    "served-model-name": ShortName(
        "model", ("engine.served_model_name",), "NAME", "model id for clients [the model's name]"
    ),
    "voices": ShortName("model", ("engine.voices",), "DIR", "folder of additional voice files"),
    "host": ShortName("address and access", ("server.host",), "ADDRESS", "address to listen on"),
    "port": ShortName("address and access", ("server.port",), "PORT", "port; 0 picks a free one"),
    "api-key-file": ShortName(
        "address and access", ("server.api_key_file",), "FILE", "API keys, one per line"
    ),
    "insecure": ShortName(
        "address and access", ("server.insecure",), "", "allow a public address without a key"
    ),
    "allowed-origins": ShortName(
        "address and access", ("server.allowed_origins",), "ORIGIN", "web origins that CORS allows"
    ),
    "allowed-media-domains": ShortName(
        "address and access", ("media.fetch_hosts",), "HOST", "hosts of remote media URLs"
    ),
    "root-path": ShortName("address and access", ("server.root_path",), "PATH"),
    "page": ShortName("address and access", ("server.page",), ""),
    "dialect": ShortName("address and access", ("server.dialect",), ""),
    "dtype": ShortName(
        "engine", ("engine.thinker.dtype", "engine.talker.dtype"), "TYPE", "auto, bfloat16, float16, float32"
    ),
    "max-model-len": ShortName(
        "engine", ("engine.thinker.max_model_len",), "N", "context in tokens [the model's]"
    ),
    "max-num-seqs": ShortName("engine", ("engine.thinker.max_num_seqs",), "N", "requests decoded at once"),
    "max-num-batched-tokens": ShortName(
        "engine", ("engine.thinker.max_num_batched_tokens",), "N", "tokens per engine step (prefill chunk)"
    ),
    "streams": ShortName("engine", ("engine.talker.streams",), "N", "spoken answers at once"),
    "gpu-memory-utilization": ShortName(
        "engine", ("engine.thinker.gpu_memory_utilization",), "SHARE", "GPU memory share of the Thinker"
    ),
    "kv-cache-memory-bytes": ShortName(
        "engine", ("engine.thinker.kv_cache_memory_bytes",), "BYTES", "fixed size of the Thinker's KV cache"
    ),
    "tensor-parallel-size": ShortName(
        "engine", ("engine.thinker.tensor_parallel_size",), "N", "GPUs that share each Thinker layer"
    ),
    "enable-prefix-caching": ShortName(
        "engine", ("engine.thinker.enable_prefix_caching",), "", "reuse the cache of common prefixes"
    ),
    "enforce-eager": ShortName(
        "engine",
        ("engine.thinker.enforce_eager", "engine.talker.enforce_eager"),
        "",
        "no compilation, no CUDA graphs",
    ),
    "drain-grace": ShortName(
        "process", ("server.timeouts.drain_grace_s",), "S", "after SIGTERM, accept this much longer"
    ),
    "drain-timeout": ShortName(
        "process", ("server.timeouts.drain_s",), "S", "after SIGTERM, finish answers within"
    ),
    "log-level": ShortName("process", ("logs.level",), "LEVEL", "debug, info, warning, error"),
    "log-format": ShortName("process", ("logs.format",), "", "plain on a terminal, else JSON [auto]"),
}
