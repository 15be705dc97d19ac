"""The oracle and two Talker engines, once a session: one as it is served, one that is short of everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration

from antiphon_executor.settings import TalkerSettings
from tests.checkpoints import tiny_qwen3_omni  # noqa: F401
from tests.parity.talker.oracle import SpeakingOracle
from tests.parity.talker.rig import TalkerRig, talker_rig
from tests.parity.thinker.oracle import Oracle


@pytest.fixture(scope="session")
def oracle(tiny_qwen3_omni: Path) -> SpeakingOracle:  # noqa: F811
    model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(tiny_qwen3_omni, dtype=torch.float32)
    return SpeakingOracle(Oracle(tiny_qwen3_omni), model.eval())


@pytest_asyncio.fixture(scope="session")
async def talker(tiny_qwen3_omni: Path) -> AsyncIterator[TalkerRig]:  # noqa: F811
    settings = TalkerSettings(dtype="float32", streams=8, max_model_len=2_048, media_rows=4_096)
    async with talker_rig(tiny_qwen3_omni, settings) as rig:
        yield rig


@pytest_asyncio.fixture(scope="session")
async def cramped_talker(tiny_qwen3_omni: Path) -> AsyncIterator[TalkerRig]:  # noqa: F811
    """Prefills 16 tokens at a time, and has too few KV blocks for its streams."""
    settings = TalkerSettings(
        dtype="float32",
        streams=8,
        max_model_len=256,
        media_rows=4_096,
        max_num_batched_tokens=16,
        num_gpu_blocks_override=14,
    )
    async with talker_rig(tiny_qwen3_omni, settings) as rig:
        yield rig
