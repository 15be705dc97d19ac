"""The Talker's scheduler without an engine: real queues and block pool, scripted tokens, a manual clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
from vllm import SamplingParams
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager

from antiphon_executor.interface.settings import EngineSettings, TalkerSettings
from antiphon_executor.models.talker.slots import EXTRA_ARG
from antiphon_executor.models.talker.stream_state import StreamState
from antiphon_executor.scheduling import scheduler as scheduler_module
from antiphon_executor.scheduling.scheduler import TalkerScheduler
from antiphon_executor.stages.talker_args import aria_talker_engine_args

BLOCK_TOKENS = 16
CODE = 7


class Start(msgspec.Struct):
    """As much of a stream's start as the scheduler reads."""

    stream: int
    slot: int
    live: bool
    poisoned: bool = False
    unheard_tokens: int = 0


class OpenStreams:
    """The worker's streams, as the scheduler uses them."""

    def __init__(self) -> None:
        self.open_slots: dict[int, int] = {}
        self.pool = SimpleNamespace(slot_of=self.open_slots.get)

    def open(self, packed: bytes) -> None:
        start = msgspec.msgpack.decode(packed, type=Start)
        if start.poisoned:
            raise ValueError("cannot be opened")
        self.open_slots[start.stream] = start.slot

    def close(self, slot: int) -> None:
        for stream in [stream for stream, held in self.open_slots.items() if held == slot]:
            del self.open_slots[stream]


@dataclass
class Sender:
    failed: list[int] = field(default_factory=list)

    def fail(self, stream: int) -> None:
        self.failed.append(stream)

    def close(self) -> None: ...


class SchedulerRig:
    """`blocks` of 16 tokens; each step takes `step_s` on the clock."""

    def __init__(self, model: Path, blocks: int, step_s: float = 0.02) -> None:
        self.now_s = 100.0
        self.step_s = step_s
        self.during_step: Callable[[], object] = lambda: None
        self.sender = Sender()
        self.streams = OpenStreams()
        settings = EngineSettings(
            model=model, talker=TalkerSettings(dtype="float32", streams=8, max_model_len=1024)
        )
        config = aria_talker_engine_args(settings, frames_socket="ipc:///nowhere").create_engine_config()
        config.cache_config.num_gpu_blocks = blocks
        layer = StreamState("layer.0", config, slot_base=0, slots=9)
        layer.streams, layer.sender = self.streams, self.sender  # type: ignore[assignment]
        spec = FullAttentionSpec(block_size=BLOCK_TOKENS, num_kv_heads=1, head_size=16, dtype=torch.float32)
        cache = KVCacheConfig(
            num_blocks=blocks, kv_cache_tensors=[], kv_cache_groups=[KVCacheGroupSpec(["a"], spec)]
        )
        self.scheduler = TalkerScheduler(
            vllm_config=config,
            kv_cache_config=cache,
            structured_output_manager=StructuredOutputManager(config),
            block_size=BLOCK_TOKENS,
            log_stats=True,
        )
        self._numbers = itertools.count(1)
        init_none_hash(hash)
        self._hasher = get_request_block_hasher(BLOCK_TOKENS, hash)

    def open(
        self,
        name: str,
        *,
        live: bool = True,
        prompt: int = 8,
        poisoned: bool = False,
        unheard: int = 0,
        more_text: bool = False,
    ) -> None:
        number = next(self._numbers)
        start = msgspec.msgpack.encode(Start(number, number, live, poisoned, unheard))
        params = SamplingParams(max_tokens=900, ignore_eos=True, extra_args={EXTRA_ARG: start})
        request = Request(
            request_id=name,
            prompt_token_ids=[1] * prompt,
            sampling_params=params,
            pooling_params=None,
            block_hasher=self._hasher,
            resumable=more_text,
        )
        self.scheduler.add_request(request)

    def request(self, name: str) -> Request:
        return self.scheduler.requests[name]

    def preemptions(self) -> dict[str, int]:
        return {name: request.num_preemptions for name, request in self.scheduler.requests.items()}

    def step(self) -> set[str]:
        """-> who ran in it."""
        output = self.scheduler.schedule()
        self.during_step()
        ran = list(output.num_scheduled_tokens)
        self.now_s += self.step_s
        if not ran:
            return set()
        drawn = [
            [CODE] if request.num_computed_tokens >= request.num_tokens else []
            for request in map(self.request, ran)
        ]
        result = ModelRunnerOutput(
            req_ids=ran,
            req_id_to_index={name: place for place, name in enumerate(ran)},
            sampled_token_ids=drawn,
        )
        self.scheduler.update_from_output(output, result)
        return set(ran)


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> list[SchedulerRig]:
    """The scheduler reads the clock of the rig that is put in here."""
    rigs: list[SchedulerRig] = []

    def sleep(seconds: float) -> None:
        rigs[0].now_s += seconds

    clock: Any = SimpleNamespace(monotonic=lambda: rigs[0].now_s if rigs else 0.0, sleep=sleep)
    monkeypatch.setattr(scheduler_module, "time", clock)
    return rigs
