"""A stage whose requests with media fail before the engine has them: vLLM's caches, no engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import pytest
from vllm import RequestOutput, SamplingParams
from vllm.config import MultiModalConfig
from vllm.exceptions import VLLMValidationError
from vllm.inputs import MultiModalInput, TokensPrompt
from vllm.multimodal.cache import (
    LruKeyReplicatedReceiverCache,
    LruKeyReplicatedSenderCache,
    MultiModalCacheMissError,
)
from vllm.outputs import CompletionOutput

from antiphon_executor.interface.errors import InvalidRequest, RequestFailed
from antiphon_executor.interface.request import OmniRequest
from antiphon_executor.models.thinker.inputs import engine_prompt
from antiphon_executor.stages.metrics import StageMetrics
from antiphon_executor.stages.stage import Stage
from tests.thinker.qwen3_5_rig import Medium, Rig, clip, picture, rig

CONTEXT = 4_096
# A second of sound takes about 51 kB: 20 of them fit.
CACHE_GIB = 1 / (1 << 10)


class Engine:
    """What `Stage` needs of `AsyncLLM`: vLLM's two caches and the real processor; it answers with nothing."""

    def __init__(self, processors: Rig) -> None:
        self._rig = processors
        caches: Any = SimpleNamespace(
            get_multimodal_config=lambda: MultiModalConfig(mm_processor_cache_gb=CACHE_GIB)
        )
        self.mm_processor_cache = LruKeyReplicatedSenderCache(caches)
        self.received = LruKeyReplicatedReceiverCache(caches)
        self.renderer = self
        self.model_config = SimpleNamespace(max_model_len=CONTEXT)
        self.go = threading.Event()
        self.go.set()
        self.sent: list[int] = []
        self.rejects = False
        # Ours while media are read, another's after their features were entered.
        self.fails: Exception | None = None

    async def render_cmpl_async(self, prompts: list[TokensPrompt]) -> list[MultiModalInput]:
        return [await asyncio.to_thread(self._render, prompt) for prompt in prompts]

    def _render(self, prompt: TokensPrompt) -> MultiModalInput:
        self.go.wait(60)
        if isinstance(self.fails, RequestFailed):
            raise self.fails
        processor = self._rig.processor
        items = processor.info.parse_mm_data(prompt["multi_modal_data"])
        uuids = prompt.get("multi_modal_uuids")
        rendered = processor(prompt["prompt_token_ids"], items, uuids, cache=self.mm_processor_cache)
        if self.fails is not None:
            raise self.fails
        return rendered

    def clear_mm_cache(self) -> None:
        self.mm_processor_cache.clear_cache()

    async def abort(self, _: str) -> None:
        pass

    async def generate(
        self, rendered: MultiModalInput, _: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput]:
        """As vLLM's engine receives the features: all are touched first, and it reports what it lacks."""
        if self.rejects:
            raise VLLMValidationError("no such token", parameter="logit_bias", value=[9])
        kinds = rendered["mm_hashes"].items()
        items = [(n, i) for kind, names in kinds for n, i in zip(names, rendered["mm_kwargs"][kind])]  # noqa: B905
        self.sent.append(sum(item is not None for _, item in items))
        for name, _ in items:
            self.received.touch_receiver_cache_item(name)
        lost = []
        for name, item in items:
            try:
                self.received.get_and_update_item(item, name)
            except MultiModalCacheMissError as error:
                lost += error.mm_hashes
        for name in lost:
            self.mm_processor_cache.invalidate(name)
        choice = CompletionOutput(0, "", [], None, None, finish_reason="error" if lost else "stop")
        yield RequestOutput(request_id, None, [], None, [choice], finished=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return rig(tmp_path_factory.mktemp("processor"))


@pytest.fixture
def engine(tiny: Rig) -> Engine:
    return Engine(tiny)


class Asked:
    """A stage that is asked about media."""

    def __init__(self, tiny: Rig, engine: Any) -> None:
        self._tiny = tiny
        self._stage = Stage("thinker", engine, StageMetrics("thinker"), lambda: True)

    async def ask(self, *parts: int | Medium) -> str | None:
        """The reason for which the answer ended."""
        tokens, media = self._tiny.template(*parts)
        prompt = engine_prompt(OmniRequest("t", tuple(tokens), media), self._tiny.ids, self._tiny.geometry)
        outputs = [output async for output in self._stage.generate(prompt, SamplingParams(), "t")]
        return outputs[-1].outputs[0].finish_reason


@pytest.fixture
def asked(tiny: Rig, engine: Engine) -> Asked:
    return Asked(tiny, engine)


async def test_a_medium_is_sent_once(asked: Asked, engine: Engine) -> None:
    assert [await asked.ask(clip(16_000)), await asked.ask(clip(16_000))] == ["stop", "stop"]
    assert engine.sent == [1, 0]


async def test_a_medium_is_sent_again_after_a_prompt_that_filled_the_context(asked: Asked) -> None:
    with pytest.raises(InvalidRequest):
        await asked.ask(clip(16_000), *[40] * CONTEXT)
    assert await asked.ask(clip(16_000)) == "stop"


async def test_a_rejected_question_does_not_forget_what_the_engine_has(asked: Asked, engine: Engine) -> None:
    assert await asked.ask(clip(16_000)) == "stop"
    with pytest.raises(InvalidRequest):
        await asked.ask(clip(16_000), *[40] * CONTEXT)
    assert await asked.ask(clip(16_000)) == "stop"
    assert engine.sent == [1, 0]


async def test_a_medium_is_sent_again_after_vllm_rejected_the_request(asked: Asked, engine: Engine) -> None:
    engine.rejects = True
    with pytest.raises(VLLMValidationError):
        await asked.ask(clip(16_000))
    engine.rejects = False
    assert await asked.ask(clip(16_000)) == "stop"


async def test_a_medium_is_sent_again_after_its_request_was_cancelled_in_preparation(
    asked: Asked, engine: Engine
) -> None:
    """The client asks again while the thread of the first request still prepares the medium."""
    engine.go.clear()
    first = asyncio.create_task(asked.ask(clip(16_000)))
    await asyncio.sleep(0.05)
    first.cancel()
    second = asyncio.create_task(asked.ask(clip(16_000)))
    await asyncio.wait([first], timeout=60)
    assert first.cancelled()
    engine.go.set()
    assert await second == "stop"
    assert engine.sent == [1]


async def test_a_medium_is_sent_again_after_its_preparation_failed(asked: Asked, engine: Engine) -> None:
    engine.fails = RuntimeError("no memory")
    with pytest.raises(RuntimeError, match="no memory"):
        await asked.ask(clip(16_000))
    engine.fails = None
    assert await asked.ask(clip(16_000)) == "stop"


async def test_a_medium_that_cannot_be_read_leaves_the_others_kept(asked: Asked, engine: Engine) -> None:
    assert await asked.ask(clip(16_000)) == "stop"
    engine.fails = RequestFailed("its audio could not be decoded a second time")
    with pytest.raises(RequestFailed):
        await asked.ask(clip(16_000, 1))
    engine.fails = None
    assert await asked.ask(clip(16_000)) == "stop"
    assert engine.sent == [1, 0]


async def test_a_second_question_about_more_media_than_the_cache_holds_is_answered(
    asked: Asked, engine: Engine
) -> None:
    media = [clip(16_000, seed) for seed in range(40)]
    assert [await asked.ask(*media) for _ in range(3)] == ["stop"] * 3
    assert engine.sent == [40] * 3


async def test_a_conversation_that_outgrows_the_cache_is_answered(asked: Asked, engine: Engine) -> None:
    """New media before known ones displace these, in vLLM's cache, while the prompt is prepared."""
    known = [clip(16_000, seed) for seed in range(12)]
    assert await asked.ask(*known) == "stop"
    assert await asked.ask(*[clip(16_000, seed) for seed in range(20, 36)], *known) == "stop"
    assert engine.sent == [12, 28]
    assert await asked.ask(picture(40, 70)) == "stop"


async def test_features_that_the_engine_has_lost_are_named_and_sent_again(
    asked: Asked, engine: Engine
) -> None:
    assert await asked.ask(clip(16_000)) == "stop"
    engine.received.clear_cache()
    with pytest.raises(
        RequestFailed, match="no longer has the features of its media; send the request again"
    ):
        await asked.ask(clip(16_000))
    assert await asked.ask(clip(16_000)) == "stop"
