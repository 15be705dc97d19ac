"""A hybrid model's prefix cache serves another question about the same media up to their end."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.multimodal.inputs import MultiModalFeatureSpec, PlaceholderRange
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec, MambaSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager

from antiphon_executor.interface.settings import EngineSettings, ThinkerSettings
from antiphon_executor.scheduling.step_time import step_budget
from antiphon_executor.scheduling.step_time.step_budget import STEP_S
from antiphon_executor.scheduling.thinker_scheduler import ThinkerScheduler
from antiphon_executor.stages.thinker_args import thinker_engine_args
from antiphon_executor.tiny import write_tiny_checkpoint

BLOCK = 256
AUDIO, TEXT = 7, 1
WINDOW = 840


@dataclass
class Rig:
    """A scheduler with real block pools of an attention and a state group; `steps` are the tokens of each.

    `ran`: called between a step's schedule and its end, with its tokens and those before.
    """

    scheduler: ThinkerScheduler
    ran: Callable[[int, int], None] = lambda *_: None
    steps: list[int] = field(default_factory=list)
    _names: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    def of(cls, model: Path, ran: Callable[[int, int], None] = lambda *_: None) -> Rig:
        config = _config(model)
        config.cache_config.num_gpu_blocks = 512
        config.cache_config.block_size = BLOCK
        config.cache_config.mamba_cache_mode = "align"
        attention = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=16, dtype=torch.float32)
        state = MambaSpec(
            block_size=BLOCK, shapes=((4, 4),), dtypes=(torch.float32,), mamba_cache_mode="align",
            page_size_padded=attention.page_size_bytes,
        )  # fmt: skip
        groups = [KVCacheGroupSpec(["a"], attention), KVCacheGroupSpec(["s"], state)]
        cache = KVCacheConfig(
            num_blocks=512, kv_cache_tensors=[], kv_cache_groups=groups, prefix_cache_retention_interval=None
        )
        init_none_hash(sha256)
        scheduler = ThinkerScheduler(
            vllm_config=config,
            kv_cache_config=cache,
            structured_output_manager=StructuredOutputManager(config),
            block_size=BLOCK,
            log_stats=True,
        )
        return cls(scheduler, ran)

    def ask(self, windows: int, question: int, length: int = 40) -> int:
        """-> the tokens that the cache had of a prompt of `windows` and `length` tokens of `question`."""
        prompt, features = [TEXT] * 11, []
        for window in range(windows):
            place = PlaceholderRange(offset=len(prompt), length=WINDOW)
            features.append(MultiModalFeatureSpec(None, "audio", f"window-{window}", place))
            prompt += [AUDIO] * WINDOW
        prompt += [question] * length
        request = self.add(prompt, features)
        name = request.request_id
        first = True
        cached = 0
        while name in self.scheduler.requests:
            output = self.step()
            if first:
                cached = output.scheduled_new_reqs[0].num_computed_tokens
                first = False
            self.steps.append(output.num_scheduled_tokens[name])
        return cached

    def add(
        self, prompt: list[int], features: list[MultiModalFeatureSpec], answer_tokens: int = 1
    ) -> Request:
        name = f"request-{next(self._names)}"
        request = Request(
            request_id=name,
            prompt_token_ids=prompt,
            sampling_params=SamplingParams(max_tokens=answer_tokens),
            pooling_params=None,
            mm_features=features,
            block_hasher=get_request_block_hasher(BLOCK, sha256),
        )
        self.scheduler.add_request(request)
        return request

    def step(self) -> SchedulerOutput:
        """Every request whose prompt is read draws a token."""
        output = self.scheduler.schedule()
        running = {one: self.scheduler.requests[one] for one in output.num_scheduled_tokens}
        computed = max(one.num_computed_tokens for one in running.values())
        self.ran(output.total_num_scheduled_tokens, computed)
        drawn = [[3] if one.num_computed_tokens >= one.num_tokens else [] for one in running.values()]
        names = list(running)
        places = {one: place for place, one in enumerate(names)}
        self.scheduler.update_from_output(
            output, ModelRunnerOutput(req_ids=names, req_id_to_index=places, sampled_token_ids=drawn)
        )
        return output


def _config(model: Path) -> VllmConfig:
    thinker = ThinkerSettings(dtype="float32", max_model_len=32_768)
    return thinker_engine_args(EngineSettings(model=model, thinker=thinker), None).create_engine_config()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny")
    write_tiny_checkpoint(path, "qwen3_5_omni")
    return path


@pytest.mark.parametrize("length", [40, 700])
@pytest.mark.parametrize("windows", [1, 2, 5, 10])
def test_another_question_finds_the_recording_up_to_its_last_whole_block(
    model: Path, windows: int, length: int
) -> None:
    rig = Rig.of(model)
    assert rig.ask(windows, question=50, length=length) == 0
    assert rig.ask(windows, question=60, length=length) == (11 + windows * WINDOW) // BLOCK * BLOCK


def test_a_short_question_takes_no_further_step(model: Path) -> None:
    rig = Rig.of(model)
    rig.ask(2, question=50)
    assert rig.steps == [(11 + 2 * WINDOW) // BLOCK * BLOCK, 11 + 2 * WINDOW + 40 - 1536]


class SlowMachine:
    """Time passes only in steps. `context_s`: of a step's token, for each token of its context."""

    def __init__(self, context_s: float) -> None:
        self.now_s = 100.0
        self.context_s = context_s
        self.steps_s: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def ran(self, tokens: int, computed: int) -> None:
        self.steps_s.append(tokens * self.context_s * (computed + 1_000))
        self.now_s += self.steps_s[-1]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowMachine:
    machine = SlowMachine(context_s=1e-7)
    monkeypatch.setattr(time, "monotonic", machine.monotonic)
    return machine


def test_beside_a_long_prompt_a_short_one_gets_its_token_in_two_short_steps(
    model: Path, slow: SlowMachine
) -> None:
    slow.context_s = 4e-8
    rig = Rig.of(model, slow.ran)
    long = rig.add([TEXT] * 24_000, [])
    while long.num_computed_tokens < 20_000:
        rig.step()
    short = rig.add([50] * 20, [])
    slow.steps_s.clear()
    before = long.num_computed_tokens
    assert short.request_id in rig.step().num_scheduled_tokens
    assert short.num_output_tokens == 1
    assert long.num_computed_tokens > before
    while long.num_computed_tokens < 24_000:
        rig.step()
    assert max(slow.steps_s) < STEP_S * 1.3


def test_beside_two_long_prompts_a_short_one_gets_its_token_at_once(model: Path) -> None:
    """Two hours-long recordings take minutes each."""
    rig = Rig.of(model)
    long = [rig.add([TEXT + number] * 30_000, []) for number in range(2)]
    while min(one.num_computed_tokens for one in long) < 2_000:
        rig.step()
    before = [one.num_computed_tokens for one in long]
    short = rig.add([50] * 20, [])
    assert short.request_id in rig.step().num_scheduled_tokens
    assert short.num_output_tokens == 1
    assert all(one.num_computed_tokens > computed for one, computed in zip(long, before, strict=True))


def test_many_answers_leave_a_short_prompt_its_share_beside_a_long_one(
    model: Path, slow: SlowMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given 60 answers, and steps with 32 tokens of prompts."""
    monkeypatch.setattr(step_budget, "_MOST_LEAST_TOKENS", 32)
    rig = Rig.of(model, slow.ran)
    answers = [rig.add([number + 2] * 20, [], answer_tokens=9_000) for number in range(60)]
    while not all(one.num_output_tokens for one in answers):
        rig.step()
    slow.context_s = 1e-3
    long = rig.add([TEXT] * 32_000, [])
    while long.num_computed_tokens < 1_000:
        rig.step()
    short = rig.add([99] * 20, [])
    for _ in range(2):
        rig.step()
    assert short.num_output_tokens == 1


def test_steps_within_a_block_keep_the_state_at_the_end_of_a_recording(
    model: Path, slow: SlowMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_budget, "_MOST_LEAST_TOKENS", 64)
    rig = Rig.of(model, slow.ran)
    assert rig.ask(20, question=50) == 0
    assert min(rig.steps[:-1]) < BLOCK
    assert rig.ask(20, question=60) == (11 + 20 * WINDOW) // BLOCK * BLOCK


def test_vllm_leaves_the_block_size_that_it_chose_when_the_engine_has_started(model: Path) -> None:
    config = _config(model)
    config.cache_config.block_size = BLOCK
    # As vLLM's `EngineCoreProc` does after the handshake with its client.
    config.__post_init__()
    assert config.cache_config.block_size == BLOCK
