"""Whether vLLM runs its V2 model runner here. Named so that only `make test-v2` collects it."""

from __future__ import annotations

from pathlib import Path

from vllm.triton_utils.importing import HAS_TRITON

from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.stages.talker_args import talker_engine_args
from tests.checkpoints import released_qwen3_omni  # noqa: F401


def test_the_talker_runs_on_the_v2_model_runner(released_qwen3_omni: Path) -> None:  # noqa: F811
    settings = EngineSettings(model=released_qwen3_omni)
    arguments = talker_engine_args(settings, text_socket="ipc:///none", frames_socket="ipc:///none")
    assert HAS_TRITON
    assert arguments.create_engine_config().use_v2_model_runner
