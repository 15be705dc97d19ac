"""The oracle and the engines, once per session."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.checkpoints import released_qwen3_omni  # noqa: F401
from tests.parity.thinker.engine import RunningThinker, running_thinker
from tests.parity.thinker.oracle import Oracle
from tests.parity.thinker.qwen3_5_checkpoint import write_checkpoint
from tests.parity.thinker.qwen3_5_oracle import Qwen3_5Oracle


@pytest.fixture(scope="package")
def oracle(released_qwen3_omni: Path) -> Oracle:  # noqa: F811
    return Oracle(released_qwen3_omni)


@pytest_asyncio.fixture(scope="package")
async def thinker(
    released_qwen3_omni: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RunningThinker]:
    """An engine as it is served: prefix caching, chunked prefill, room for all."""
    folder = tmp_path_factory.mktemp("thinker")
    async with running_thinker(
        released_qwen3_omni, folder, max_model_len=8_192, max_num_seqs=8, kv_cache_memory_bytes=128 << 20
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="package")
async def cramped_thinker(
    released_qwen3_omni: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[RunningThinker]:
    """An engine that prefills in chunks of 48 tokens and has too few blocks for its requests."""
    folder = tmp_path_factory.mktemp("cramped")
    async with running_thinker(
        released_qwen3_omni,
        folder,
        max_model_len=1_024,
        max_num_seqs=8,
        max_num_batched_tokens=48,
        num_gpu_blocks_override=20,
        kv_cache_memory_bytes=64 << 20,
    ) as running:
        yield running


@pytest.fixture(scope="package")
def qwen3_5_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("qwen3_5") / "checkpoint")


@pytest.fixture(scope="package")
def qwen3_5_oracle(qwen3_5_checkpoint: Path) -> Qwen3_5Oracle:
    return Qwen3_5Oracle(qwen3_5_checkpoint)


@pytest_asyncio.fixture(scope="package")
async def qwen3_5_thinker(
    qwen3_5_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningThinker]:
    """As it is served: the checkpoint's bfloat16, prefix caching, chunked prefill, room for all."""
    folder = tmp_path_factory.mktemp("qwen3_5")
    async with running_thinker(
        qwen3_5_checkpoint,
        folder,
        dtype="auto",
        max_model_len=16_384,
        max_num_seqs=8,
        kv_cache_memory_bytes=256 << 20,
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="package")
async def exact_qwen3_5_thinker(
    qwen3_5_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningThinker]:
    """In the reference's float32, so that nothing is blurred."""
    folder = tmp_path_factory.mktemp("exact_qwen3_5")
    async with running_thinker(
        qwen3_5_checkpoint, folder, max_model_len=4_096, max_num_seqs=8, kv_cache_memory_bytes=256 << 20
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="package")
async def cramped_qwen3_5_thinker(
    qwen3_5_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningThinker]:
    """In float32; prefills in chunks of 48 tokens, less than a block, and has too few blocks."""
    folder = tmp_path_factory.mktemp("cramped_qwen3_5")
    async with running_thinker(
        qwen3_5_checkpoint,
        folder,
        max_model_len=768,
        max_num_seqs=8,
        max_num_batched_tokens=48,
        num_gpu_blocks_override=20,
        kv_cache_memory_bytes=64 << 20,
    ) as running:
        yield running
