"""Calculates whether a model fits: weights, caches and slots of both engines on each GPU or the CPU."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedConfig

from antiphon_executor.checkpoint.family import QWEN3_5_OMNI, family_of
from antiphon_executor.interface.settings import EngineSettings, TalkerSettings, ThinkerSettings
from antiphon_executor.models.thinker.talker_presence import has_talker
from antiphon_executor.planning.kv_pages import CPU_BLOCK_TOKENS, GPU_BLOCK_TOKENS, CachePages, cache_pages
from antiphon_executor.planning.weight_sizes import WeightSizes, weight_sizes

GiB = 1 << 30
# Assumptions: CUDA context, activations of one step and captured graphs; on a CPU, the process itself.
GPU_WORKING_BYTES = 3 * GiB
CPU_WORKING_BYTES = 3 * GiB // 2
# Talker prompt: text and a voice's reference frames (750 per minute).
SPOKEN_PROMPT_TOKENS = 1024


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """Memory of one engine on each of its `gpus` (empty: it runs on the CPU).

    `share_bytes`: its limit. `pages`: the layout of its cache. `request_bytes`: cache of the longest request.
    `requests`: how many of those fit at the same time.
    """

    name: str
    gpus: tuple[int, ...]
    share_bytes: int
    weights_bytes: int
    slots_bytes: int
    working_bytes: int
    cache_bytes: int
    request_tokens: int
    wanted_requests: int
    pages: CachePages
    blocks_override: int | None = None

    @property
    def blocks(self) -> int:
        """As vLLM allocates them."""
        return self.blocks_override or max(self.cache_bytes, 0) // self.pages.block_bytes

    @property
    def request_bytes(self) -> int:
        return self.pages.request_bytes(self.request_tokens)

    @property
    def requests(self) -> int:
        return self.requests_of(self.request_tokens)

    def requests_of(self, tokens: int) -> int:
        """How many requests of `tokens` tokens fit at the same time. vLLM keeps one block for itself."""
        return max(self.blocks - 1, 0) // self.pages.request_blocks(tokens)

    @property
    def least_bytes(self) -> int:
        """Without working memory. The cache of a GPU takes what is left."""
        return self.weights_bytes + self.slots_bytes + (0 if self.gpus else self.cache_bytes)

    @property
    def certain_shortage(self) -> str | None:
        """What is missing even without working memory."""
        if self.gpus and self.least_bytes > self.share_bytes:
            return (
                f"{self.name}: weights and slots take {_size(self.least_bytes)} on each GPU; its share is "
                f"{_size(self.share_bytes)}"
            )
        blocks = self.pages.request_blocks(self.request_tokens)
        if not self.gpus and self.name == "thinker" and blocks > self.cache_bytes // self.pages.block_bytes:
            return (
                f"{self.name}: a request of {self.request_tokens:,} tokens takes {blocks:,} blocks of cache; "
                f"there are {self.cache_bytes // self.pages.block_bytes:,}: raise --kv-cache-memory-bytes or "
                "lower --max-model-len"
            )
        return None

    @property
    def shortage(self) -> str | None:
        """What is missing and how much, in one line; None if the engine fits."""
        where = f"on GPU {', '.join(map(str, self.gpus))}" if self.gpus else "in memory"
        fixed = self.weights_bytes + self.slots_bytes + self.working_bytes
        if fixed > self.share_bytes:
            return (
                f"{self.name}: weights, slots and working memory take {_size(fixed)} {where}; its share is "
                f"{_size(self.share_bytes)}: {_size(fixed - self.share_bytes)} short"
            )
        if self.requests < self.wanted_requests:
            # One block is vLLM's own.
            wanted = self.request_bytes * self.wanted_requests + self.pages.block_bytes
            return (
                f"{self.name}: {self.wanted_requests} requests of {self.request_tokens:,} tokens take "
                f"{_size(wanted)} of cache {where}; it has {_size(self.cache_bytes)}: "
                f"{_size(wanted - self.cache_bytes)} short"
            )
        return None


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Memory of all engines. `contexts`: simultaneous requests of maximum length; `streams`: of speech.

    `has_talker`: whether the checkpoint has one.
    """

    family: str
    memory_bytes: int
    engines: tuple[EngineMemory, ...]
    shortages: tuple[str, ...]
    has_talker: bool = True

    @property
    def fits(self) -> bool:
        return not self.shortages

    @property
    def certain_shortages(self) -> tuple[str, ...]:
        """What is missing even if an engine needs no working memory at all."""
        found = [shortage for engine in self.engines if (shortage := engine.certain_shortage)]
        if not any(engine.gpus for engine in self.engines):
            needed = sum(engine.least_bytes for engine in self.engines)
            if needed > self.memory_bytes:
                found.append(
                    f"weights, slots and caches take {_size(needed)}; the machine has "
                    f"{_size(self.memory_bytes)}"
                )
        return tuple(found)

    @property
    def contexts(self) -> int:
        return self.engines[0].requests

    @property
    def streams(self) -> int:
        talkers = [min(engine.requests, engine.wanted_requests) for engine in self.engines[1:]]
        return talkers[0] if talkers else 0


def plan_memory(
    config: PreTrainedConfig, settings: EngineSettings, memory_bytes: int, *, gpus: bool
) -> MemoryPlan:
    """Plans for GPUs of `memory_bytes` each or, without `gpus`, for a machine with that much memory."""
    if not has_talker(config):
        settings = settings.model_copy(update={"speech": False})
    weights = weight_sizes(config)
    engines = [_thinker(config, settings, weights, memory_bytes if gpus else None)]
    if settings.speech:
        engines.append(_talker(config, settings.talker, weights, memory_bytes if gpus else None))
    shortages = [engine.shortage for engine in engines if engine.shortage]
    shortages += _overcommitted(engines, memory_bytes)
    return MemoryPlan(
        family_of(config).name, memory_bytes, tuple(engines), tuple(shortages), has_talker(config)
    )


def thinker_pages(config: PreTrainedConfig, settings: EngineSettings, *, on_cpu: bool = False) -> CachePages:
    """Layout of the Thinker's cache, including the hidden states that it keeps for a Talker."""
    thinker, text = settings.thinker, config.thinker_config.text_config
    element = _element_bytes(thinker.dtype)
    return cache_pages(
        text,
        element_bytes=element,
        gpus=thinker.tensor_parallel_size,
        states=2 if thinker.enable_prefix_caching else 1,
        row_bytes=text.hidden_size * element if settings.speech else 0,
        least_block_tokens=CPU_BLOCK_TOKENS if on_cpu else GPU_BLOCK_TOKENS,
    )


def talker_pages(config: PreTrainedConfig, settings: TalkerSettings, *, on_cpu: bool = False) -> CachePages:
    """Layout of the Talker's cache. On a GPU vLLM's V2 runner keeps the slots, so no layer has a state."""
    return cache_pages(
        config.talker_config.text_config,
        element_bytes=_element_bytes(settings.dtype),
        single_states=1 if on_cpu and family_of(config) is not QWEN3_5_OMNI else 0,
        least_block_tokens=CPU_BLOCK_TOKENS if on_cpu else GPU_BLOCK_TOKENS,
    )


def _thinker(
    config: PreTrainedConfig, settings: EngineSettings, weights: WeightSizes, gpu_bytes: int | None
) -> EngineMemory:
    thinker, text = settings.thinker, config.thinker_config.text_config
    count, element = thinker.tensor_parallel_size, _element_bytes(thinker.dtype)
    layers = weights.layers * (1 if thinker.quantization else element)
    shared = layers + weights.vocabulary * element
    context = thinker.max_model_len or text.max_position_embeddings
    return _engine(
        "thinker",
        thinker,
        thinker_pages(config, settings, on_cpu=gpu_bytes is None),
        gpu_bytes,
        gpus=_gpus(thinker.device, count),
        weights_bytes=shared // count + weights.towers * element,
        slots_bytes=0,
        request_tokens=context,
        wanted_requests=1,
    )


def _talker(
    config: PreTrainedConfig, settings: TalkerSettings, weights: WeightSizes, gpu_bytes: int | None
) -> EngineMemory:
    talker, text = config.talker_config, config.talker_config.text_config
    element = _element_bytes(settings.dtype)
    interleaved = family_of(config) is QWEN3_5_OMNI
    answer = settings.max_frames * (2 if interleaved else 1)
    tokens = SPOKEN_PROMPT_TOKENS + settings.media_rows // settings.streams + answer
    codec = talker.codec_vocab_size if interleaved else text.vocab_size
    per_slot = (
        weights.vocoder_state_bytes
        + settings.max_frames * talker.num_code_groups * 2  # int16
        + codec  # one byte per code: already sampled or not
    )
    rows = settings.media_rows * text.hidden_size * element
    # Qwen3-Omni's Talker has no text embedding of its own: it stores the Thinker's, projected.
    spoken = 0 if interleaved else config.thinker_config.text_config.vocab_size * text.hidden_size
    return _engine(
        "talker",
        settings,
        talker_pages(config, settings, on_cpu=gpu_bytes is None),
        gpu_bytes,
        gpus=_gpus(settings.device, 1),
        weights_bytes=(weights.talker + spoken) * element,
        slots_bytes=(settings.streams + 1) * per_slot + rows,
        request_tokens=min(tokens, settings.max_model_len or text.max_position_embeddings),
        wanted_requests=settings.streams,
    )


def _engine(
    name: str,
    settings: ThinkerSettings | TalkerSettings,
    pages: CachePages,
    gpu_bytes: int | None,
    *,
    gpus: tuple[int, ...],
    weights_bytes: int,
    slots_bytes: int,
    request_tokens: int,
    wanted_requests: int,
) -> EngineMemory:
    working = CPU_WORKING_BYTES if gpu_bytes is None else GPU_WORKING_BYTES
    fixed = weights_bytes + slots_bytes + working
    if gpu_bytes is None:
        cache = settings.cpu_cache_bytes()
        share = fixed + cache
    else:
        share = int(gpu_bytes * settings.gpu_memory_utilization)
        cache = settings.kv_cache_memory_bytes or share - fixed
    return EngineMemory(
        name=name,
        gpus=gpus if gpu_bytes is not None else (),
        share_bytes=share,
        weights_bytes=weights_bytes,
        slots_bytes=slots_bytes,
        working_bytes=working,
        cache_bytes=cache,
        request_tokens=request_tokens,
        wanted_requests=wanted_requests,
        pages=pages,
        blocks_override=settings.num_gpu_blocks_override,
    )


def _overcommitted(engines: list[EngineMemory], memory_bytes: int) -> list[str]:
    """Messages for each GPU, or the machine, whose engines' shares exceed its memory."""
    found = []
    gpus: list[int | None] = [*sorted({gpu for engine in engines for gpu in engine.gpus})]
    for gpu in gpus or [None]:
        asked = sum(engine.share_bytes for engine in engines if gpu is None or gpu in engine.gpus)
        if asked > memory_bytes:
            where = "the machine" if gpu is None else f"GPU {gpu}"
            found.append(
                f"the engines' shares of {where} add up to {_size(asked)}; it has {_size(memory_bytes)}: "
                f"{_size(asked - memory_bytes)} short"
            )
    return found


def _gpus(device: str | None, count: int) -> tuple[int, ...]:
    """Devices from CUDA_VISIBLE_DEVICES syntax, or the first ones. Raises ValueError if too few."""
    if device is None:
        return tuple(range(count))
    named = tuple(int(part) for part in device.split(","))
    if len(named) < count:
        raise ValueError(f"{count} GPUs are needed; {device!r} names {len(named)}")
    return named[:count]


def _element_bytes(dtype: str) -> int:
    """`auto` is the checkpoint's own dtype; vLLM loads float32, and what names none, as bfloat16."""
    return 4 if dtype == "float32" else 2


def _size(count: int) -> str:
    return f"{count / GiB:.2f} GiB"
