"""A schema whose compilation does not end, inside a real engine: noticed, ended, and in nobody else's way.

The server refuses such schemas; this is the engine's own bound behind that.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from transformers import AutoTokenizer

from antiphon_executor.engine import VllmOmniEngine, start_engine
from antiphon_executor.protocol import InvalidTurn, TextEnded, TextSampling, TurnRequest
from antiphon_executor.settings import EngineSettings, ThinkerSettings
from antiphon_executor.thinker.scheduler import LONGEST_COMPILE_S
from tests.checkpoints import tiny_qwen3_omni  # noqa: F401

pytestmark = pytest.mark.engine

# A check by multiples has as many states as the number, and all of them are made: half a minute and more.
ENDLESS = {"type": "integer", "multipleOf": 4_999_999}


@pytest_asyncio.fixture
async def own(tiny_qwen3_omni: Path) -> AsyncIterator[VllmOmniEngine]:  # noqa: F811
    """An engine of its own: nothing but its end stops what is compiled in it."""
    thinker = ThinkerSettings(dtype="float32", max_model_len=4_096, kv_cache_memory_bytes=128 << 20)
    running = await start_engine(
        EngineSettings(model=tiny_qwen3_omni, speech=False, thinker=thinker), lambda _: None
    )
    yield running
    await running.close()


async def test_given_a_compilation_without_end_then_it_is_noticed_and_ended_and_text_goes_on(
    own: VllmOmniEngine,
    tiny_qwen3_omni: Path,  # noqa: F811
) -> None:
    prompt = tuple(AutoTokenizer.from_pretrained(tiny_qwen3_omni).encode("hello"))

    async def ends(name: str, schema: str | None = None) -> object:
        text = TextSampling(max_tokens=4, json_schema=schema)
        return [event async for event in own.generate(TurnRequest(name, prompt, text=text))][-1]

    assert isinstance(await ends("before"), TextEnded)
    assert own.status().stuck == {}
    began = time.monotonic()
    endless = asyncio.create_task(ends("endless", json.dumps(ENDLESS)))
    async with asyncio.timeout(20):
        while not own.status().stuck:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
    assert time.monotonic() - began < 8
    assert "compiling a JSON schema" in own.status().stuck["thinker"]
    assert isinstance(await ends("beside"), TextEnded)
    with pytest.raises(InvalidTurn, match="schema cannot be compiled"):
        await asyncio.wait_for(endless, LONGEST_COMPILE_S + 20)
    assert own.status().stuck
