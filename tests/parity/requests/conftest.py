"""Both engines behind the interface that the server sees, once per session, and the oracle."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.checkpoint.voices import voice_prompts
from antiphon_executor.engine.omni_engine import VllmOmniEngine, start_engine
from antiphon_executor.interface.settings import EngineSettings, TalkerSettings, ThinkerSettings
from antiphon_executor.tiny import write_tiny_checkpoint
from tests.checkpoints import released_qwen3_omni  # noqa: F401
from tests.parity.requests.aria_requests import AriaRequests
from tests.parity.talker.aria_oracle import AriaOracle
from tests.parity.talker.conftest import oracle  # noqa: F401
from tests.warm_start import warm_start

MAX_MEDIA_ROWS = 24


@pytest.fixture(scope="package")
def restored_environment() -> Iterator[None]:
    """A server sets variables for its engines; engines of later tests in this process must not see them."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest_asyncio.fixture(scope="package")
async def engine(
    released_qwen3_omni: Path,  # noqa: F811
    restored_environment: None,
) -> AsyncIterator[VllmOmniEngine]:
    settings = EngineSettings(
        model=released_qwen3_omni,
        thinker=ThinkerSettings(dtype="float32", max_model_len=4_096, kv_cache_memory_bytes=128 << 20),
        talker=TalkerSettings(dtype="float32", max_model_len=4_096, streams=8, media_rows=8_192),
    )
    with warm_start():
        running = await start_engine(settings, lambda line: None)
    yield running
    await running.close()


@pytest.fixture(scope="package")
def tokenizer(released_qwen3_omni: Path) -> PreTrainedTokenizerBase:  # noqa: F811
    return AutoTokenizer.from_pretrained(released_qwen3_omni)


@pytest.fixture(scope="package")
def aria_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Qwen3.5-Omni, with a cap on media rows that a few seconds of sound exceed."""
    path = tmp_path_factory.mktemp("tiny_qwen3_5_omni_requests")
    write_tiny_checkpoint(path, "qwen3_5_omni")
    config = json.loads((path / "config.json").read_text())
    config["talker_config"]["max_media_rows"] = MAX_MEDIA_ROWS
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.fixture(scope="package")
def aria_oracle(aria_checkpoint: Path) -> AriaOracle:
    made = AriaOracle(aria_checkpoint, MAX_MEDIA_ROWS)
    config = read_config(aria_checkpoint)
    made.voices = {one.voice.id: one.prompt for one in voice_prompts(aria_checkpoint, config, None)}
    return made


@pytest_asyncio.fixture(scope="package")
async def aria_requests(aria_checkpoint: Path, restored_environment: None) -> AsyncIterator[AriaRequests]:
    settings = EngineSettings(
        model=aria_checkpoint,
        thinker=ThinkerSettings(dtype="float32", max_model_len=4_096, kv_cache_memory_bytes=512 << 20),
        talker=TalkerSettings(dtype="float32", max_model_len=4_096, streams=8, media_rows=8_192),
    )
    with warm_start():
        running = await start_engine(settings, lambda line: None)
    yield AriaRequests(running, AutoTokenizer.from_pretrained(aria_checkpoint))
    await running.close()
