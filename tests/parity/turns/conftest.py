"""Both engines behind the protocol that the server sees, once a session, beside the oracle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from antiphon_executor.engine import VllmOmniEngine, start_engine
from antiphon_executor.settings import EngineSettings, TalkerSettings, ThinkerSettings
from tests.checkpoints import tiny_qwen3_omni  # noqa: F401
from tests.parity.talker.conftest import oracle  # noqa: F401


@pytest_asyncio.fixture(scope="session")
async def engine(tiny_qwen3_omni: Path) -> AsyncIterator[VllmOmniEngine]:  # noqa: F811
    settings = EngineSettings(
        model=tiny_qwen3_omni,
        thinker=ThinkerSettings(dtype="float32", max_model_len=4_096, kv_cache_memory_bytes=128 << 20),
        talker=TalkerSettings(dtype="float32", max_model_len=4_096, streams=8, media_rows=8_192),
    )
    running = await start_engine(settings, lambda line: None)
    yield running
    await running.close()


@pytest.fixture(scope="session")
def tokenizer(tiny_qwen3_omni: Path) -> PreTrainedTokenizerBase:  # noqa: F811
    return AutoTokenizer.from_pretrained(tiny_qwen3_omni)
