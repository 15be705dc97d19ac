"""What `--engine.deterministic` changes in the engines' settings and arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from vllm import SamplingParams
from vllm.platforms import current_platform

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.engine.determinism import with_determinism, without_cache_keys
from antiphon_executor.engine.launch import stage_specs
from antiphon_executor.interface.settings import EngineSettings, ThinkerSettings
from antiphon_executor.ipc.bridge import SocketFolder
from antiphon_executor.scheduling.thinker_scheduler import OneRequestThinkerScheduler, ThinkerScheduler
from tests.checkpoints import tiny_qwen3_5_omni  # noqa: F401

ON = EngineSettings(model=Path("x"), deterministic=True)


def test_without_it_the_settings_are_as_given() -> None:
    off = EngineSettings(model=Path("x"))
    assert with_determinism(off, on_cpu=True) is off


def test_no_prompt_is_read_from_a_cache_and_its_chunks_have_one_size() -> None:
    thinker = with_determinism(ON, on_cpu=True).thinker
    assert (thinker.enable_prefix_caching, thinker.max_num_batched_tokens) == (False, 256)


def test_the_operators_chunks_are_kept() -> None:
    given = ON.model_copy(update={"thinker": ThinkerSettings(max_num_batched_tokens=512)})
    assert with_determinism(given, on_cpu=True).thinker.max_num_batched_tokens == 512
    assert with_determinism(ON, on_cpu=False).thinker.max_num_batched_tokens is None


@pytest.mark.skipif(not current_platform.is_cpu(), reason="a CPU's schedulers")
def test_the_stages_run_one_request_per_step_and_share_no_core(tiny_qwen3_5_omni: Path) -> None:  # noqa: F811
    folder = SocketFolder()
    try:
        for deterministic, scheduler in ((True, OneRequestThinkerScheduler), (False, ThinkerScheduler)):
            settings = EngineSettings(model=tiny_qwen3_5_omni, deterministic=deterministic)
            thinker, talker = stage_specs(settings, read_config(tiny_qwen3_5_omni), folder)
            assert thinker.arguments.scheduler_cls is scheduler
            assert (thinker.arguments.mm_processor_cache_gb == 0) is deterministic
            assert talker.arguments.additional_config["one_per_step"] is deterministic
            assert (talker.arguments.additional_config["activity"] is None) is deterministic
    finally:
        folder.close()


def test_media_have_no_cache_keys() -> None:
    sent: list[Any] = []
    generate = without_cache_keys(lambda prompt, *_: sent.append(prompt))  # type: ignore[arg-type, func-returns-value]
    prompt: Any = {"prompt_token_ids": [1], "multi_modal_data": {}, "multi_modal_uuids": {"audio": ["key"]}}
    generate(prompt, SamplingParams(), "request")
    assert sent == [{"prompt_token_ids": [1], "multi_modal_data": {}}]
