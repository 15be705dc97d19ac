"""The Thinker runs compiled on a CPU only if these very settings have been compiled before."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon_executor.engine import compile_ahead as module
from antiphon_executor.engine.compile_ahead import compile_ahead
from antiphon_executor.interface.errors import OperatorError
from antiphon_executor.interface.settings import EngineSettings, ThinkerSettings
from antiphon_executor.stages import compilation
from antiphon_executor.stages.compilation import could_be_compiled, mark_of, runs_compiled
from tests.checkpoints import tiny_qwen3_omni  # noqa: F401


class StartedEngine:
    async def close(self) -> None:
        pass


@pytest.fixture
def settings(
    tiny_qwen3_omni: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> EngineSettings:
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path))
    monkeypatch.setattr(compilation, "has_compiler", lambda: True)
    monkeypatch.setattr(module, "has_compiler", lambda: True)
    return EngineSettings(model=tiny_qwen3_omni)


async def compile_with(
    settings: EngineSettings, monkeypatch: pytest.MonkeyPatch, fault: bool = False
) -> None:
    async def start(given: EngineSettings, _: object) -> StartedEngine:
        assert runs_compiled(given)
        if fault:
            raise RuntimeError("no memory")
        return StartedEngine()

    monkeypatch.setattr(module, "start_engine", start)
    await compile_ahead(settings, lambda _: None)


async def test_settings_that_were_compiled_run_compiled_and_others_do_not(
    settings: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not runs_compiled(settings)
    assert could_be_compiled(settings)
    await compile_with(settings, monkeypatch)
    assert runs_compiled(settings)
    assert not could_be_compiled(settings)
    assert not could_be_compiled(settings.model_copy(update={"thinker": ThinkerSettings(enforce_eager=True)}))
    assert not runs_compiled(settings.model_copy(update={"speech": False}))
    assert not runs_compiled(settings.model_copy(update={"thinker": ThinkerSettings(max_num_seqs=3)}))
    assert not runs_compiled(settings.model_copy(update={"thinker": ThinkerSettings(enforce_eager=True)}))


async def test_without_a_compiler_it_runs_eagerly(
    settings: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await compile_with(settings, monkeypatch)
    monkeypatch.setattr(compilation, "has_compiler", lambda: False)
    monkeypatch.setattr(module, "has_compiler", lambda: False)
    assert not runs_compiled(settings)
    with pytest.raises(OperatorError, match=r"install g\+\+"):
        await compile_ahead(settings, lambda _: None)


async def test_after_a_compilation_that_failed_it_runs_eagerly(
    settings: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match="no memory"):
        await compile_with(settings, monkeypatch, fault=True)
    assert not mark_of(settings).exists()
    assert not runs_compiled(settings)
