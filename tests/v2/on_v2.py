"""Whether tests run vLLM's V2 model runner here, and as a GPU does. Only `make test-v2` collects it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from vllm.triton_utils.importing import HAS_TRITON

from antiphon_executor.interface.settings import EngineSettings, TalkerSettings
from antiphon_executor.scheduling.thinker_scheduler import AsyncThinkerScheduler, ThinkerScheduler
from antiphon_executor.stages.talker_args import talker_engine_args
from antiphon_executor.stages.thinker_args import thinker_engine_args
from tests.checkpoints import released_qwen3_omni, tiny_qwen3_5_omni  # noqa: F401
from tests.parity.talker.aria_oracle import AriaOracle
from tests.parity.talker.rig import aria_rig, talker_rig

ASYNC = bool(os.environ.get("ANTIPHON_TEST_ASYNC"))


def test_both_engines_run_on_the_v2_model_runner(released_qwen3_omni: Path) -> None:  # noqa: F811
    settings = EngineSettings(model=released_qwen3_omni)
    talker = talker_engine_args(settings, text_socket="ipc:///none", frames_socket="ipc:///none")
    thinker = thinker_engine_args(settings, "ipc:///none")
    assert HAS_TRITON
    for arguments in (talker, thinker):
        config = arguments.create_engine_config()
        assert config.use_v2_model_runner
        assert config.scheduler_config.async_scheduling is ASYNC
    assert config.scheduler_config.scheduler_cls is (AsyncThinkerScheduler if ASYNC else ThinkerScheduler)


async def test_vllm_warms_up_both_talkers(
    released_qwen3_omni: Path,  # noqa: F811
    tiny_qwen3_5_omni: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a GPU: prompts of no stream, and steps that decode. An engine that fails does not start."""
    listed = tmp_path / "warmed"
    monkeypatch.setenv("ANTIPHON_TEST_WARMED", str(listed))
    settings = TalkerSettings(dtype="float32", streams=8, max_model_len=256, media_rows=4_096)
    async with talker_rig(released_qwen3_omni, settings):
        pass
    async with aria_rig(tiny_qwen3_5_omni, settings, AriaOracle(tiny_qwen3_5_omni).voices):
        pass
    assert listed.read_text().split() == ["Qwen3OmniTalker", "Qwen3_5OmniTalker"]
