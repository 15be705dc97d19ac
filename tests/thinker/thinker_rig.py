"""The Thinker's scheduler without an engine: real queues and block pools, and a token for each answer."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

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
from antiphon_executor.scheduling.thinker_scheduler import ThinkerScheduler
from antiphon_executor.stages.thinker_args import thinker_engine_args

BLOCK = 256
AUDIO, TEXT = 7, 1
WINDOW = 840


@dataclass
class Rig:
    """A scheduler with real block pools of an attention and a state group; `steps` are the tokens of each.

    `ran`: called between a step's schedule and its end, with its tokens and those before.
    `output`: of the last step's schedule.
    """

    scheduler: ThinkerScheduler
    ran: Callable[[int, int], None] = lambda *_: None
    steps: list[int] = field(default_factory=list)
    output: SchedulerOutput | None = None
    _names: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    def of(cls, model: Path, ran: Callable[[int, int], None] = lambda *_: None) -> Rig:
        config = config_of(model)
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
        output = self.output = self.scheduler.schedule()
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


def config_of(model: Path) -> VllmConfig:
    thinker = ThinkerSettings(dtype="float32", max_model_len=32_768)
    return thinker_engine_args(EngineSettings(model=model, thinker=thinker), None).create_engine_config()
