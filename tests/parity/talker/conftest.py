"""For each family the oracle and two Talker engines, once per session: as served, and short of resources."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration
from vllm.triton_utils.importing import HAS_TRITON

from antiphon_executor.interface.settings import TalkerSettings
from tests.checkpoints import released_qwen3_omni, tiny_qwen3_5_omni  # noqa: F401
from tests.parity.talker.aria_oracle import AriaOracle
from tests.parity.talker.oracle import SpeakingOracle
from tests.parity.talker.rig import TalkerRig, aria_rig, talker_rig
from tests.parity.thinker.oracle import Oracle

# On vLLM's V2 runner (`make test-v2`) a block has the keys and values of all three layers, on V1 of one.
CRAMPED_BLOCKS = 5 if HAS_TRITON else 14


@pytest.fixture(scope="package")
def oracle(released_qwen3_omni: Path) -> SpeakingOracle:  # noqa: F811
    model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(released_qwen3_omni, dtype=torch.float32)
    return SpeakingOracle(Oracle(released_qwen3_omni), model.eval())


@pytest_asyncio.fixture(scope="package")
async def talker(released_qwen3_omni: Path) -> AsyncIterator[TalkerRig]:  # noqa: F811
    settings = TalkerSettings(dtype="float32", streams=8, max_model_len=2_048, media_rows=4_096)
    async with talker_rig(released_qwen3_omni, settings) as rig:
        yield rig


@pytest_asyncio.fixture(scope="package")
async def cramped_talker(released_qwen3_omni: Path) -> AsyncIterator[TalkerRig]:  # noqa: F811
    """Prefills 16 tokens at a time, and has too few KV blocks for its streams."""
    settings = TalkerSettings(
        dtype="float32",
        streams=8,
        max_model_len=256,
        media_rows=4_096,
        max_num_batched_tokens=16,
        num_gpu_blocks_override=CRAMPED_BLOCKS,
    )
    async with talker_rig(released_qwen3_omni, settings) as rig:
        yield rig


@pytest.fixture(scope="package")
def aria_oracle(tiny_qwen3_5_omni: Path) -> AriaOracle:  # noqa: F811
    return AriaOracle(tiny_qwen3_5_omni)


@pytest_asyncio.fixture(scope="package")
async def aria(tiny_qwen3_5_omni: Path, aria_oracle: AriaOracle) -> AsyncIterator[TalkerRig]:  # noqa: F811
    settings = TalkerSettings(dtype="float32", streams=8, max_model_len=2_048, media_rows=4_096)
    async with aria_rig(tiny_qwen3_5_omni, settings, aria_oracle.voices) as rig:
        yield rig


@pytest_asyncio.fixture(scope="package")
async def cramped_aria(tiny_qwen3_5_omni: Path, aria_oracle: AriaOracle) -> AsyncIterator[TalkerRig]:  # noqa: F811
    """As `cramped_talker`; a stream takes a block for each of three states, and one for 128 tokens."""
    settings = TalkerSettings(
        dtype="float32",
        streams=8,
        max_model_len=256,
        media_rows=4_096,
        max_num_batched_tokens=16,
        num_gpu_blocks_override=18,
    )
    async with aria_rig(tiny_qwen3_5_omni, settings, aria_oracle.voices) as rig:
        yield rig


@pytest_asyncio.fixture(scope="package")
async def rounded_aria(tiny_qwen3_5_omni: Path, aria_oracle: AriaOracle) -> AsyncIterator[TalkerRig]:  # noqa: F811
    settings = TalkerSettings(dtype="bfloat16", streams=8, max_model_len=2_048, media_rows=4_096)
    async with aria_rig(tiny_qwen3_5_omni, settings, aria_oracle.voices) as rig:
        yield rig
