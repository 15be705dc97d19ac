"""On a CPU without AVX-512, `auto` means float32."""

from __future__ import annotations

import pytest
import torch

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.engine.dtype_selection import with_cpu_dtypes
from antiphon_executor.interface.settings import EngineSettings, TalkerSettings, ThinkerSettings
from antiphon_executor.planning.planner import GiB, plan_memory
from antiphon_executor.shipped import ANTIPHON_NANO

CONFIG = read_config(ANTIPHON_NANO)


@pytest.fixture
def without_avx512(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


@pytest.fixture
def with_avx512(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


@pytest.mark.usefixtures("without_avx512")
def test_auto_becomes_float32_on_a_slow_cpu() -> None:
    settings = with_cpu_dtypes(EngineSettings(), CONFIG)
    assert (settings.thinker.dtype, settings.talker.dtype) == ("float32", "float32")


@pytest.mark.usefixtures("without_avx512")
def test_an_explicit_dtype_stays() -> None:
    asked = EngineSettings(thinker=ThinkerSettings(dtype="bfloat16"), talker=TalkerSettings(streams=2))
    settings = with_cpu_dtypes(asked, CONFIG)
    assert settings.thinker == asked.thinker
    assert (settings.talker.dtype, settings.talker.streams) == ("float32", 2)


@pytest.mark.usefixtures("with_avx512")
def test_a_fast_cpu_uses_the_checkpoints_dtype() -> None:
    assert with_cpu_dtypes(EngineSettings(), CONFIG) == EngineSettings()


@pytest.mark.usefixtures("without_avx512")
def test_the_whole_context_fits_the_default_cache_in_both_dtypes() -> None:
    for settings in (EngineSettings(), with_cpu_dtypes(EngineSettings(), CONFIG)):
        plan = plan_memory(CONFIG, settings, 8 * GiB, gpus=False)
        assert plan.engines[0].request_tokens == 262_144
        assert plan.contexts >= 1


@pytest.mark.usefixtures("without_avx512")
def test_an_explicit_cache_size_stays() -> None:
    asked = EngineSettings(thinker=ThinkerSettings(kv_cache_memory_bytes=64 << 20))
    assert with_cpu_dtypes(asked, CONFIG).thinker.cpu_cache_bytes() == 64 << 20
