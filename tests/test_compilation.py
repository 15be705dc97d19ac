"""The Thinker runs compiled on a CPU only if these very settings have been compiled before."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon_executor.engine import compile_ahead as module
from antiphon_executor.engine import launch
from antiphon_executor.engine.compile_ahead import compile_ahead
from antiphon_executor.engine.launch import Launcher, StageSpec
from antiphon_executor.interface.errors import OperatorError
from antiphon_executor.interface.settings import EngineSettings, ThinkerSettings
from antiphon_executor.stages import compilation
from antiphon_executor.stages.compilation import could_be_compiled, mark_of, runs_compiled
from tests.checkpoints import tiny_qwen3_omni  # noqa: F401


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


class CompiledThinker:
    def __init__(self, spec: StageSpec) -> None:
        self.spec = spec
        self.ended = False

    async def end(self) -> None:
        self.ended = True


async def compile_with(
    settings: EngineSettings, monkeypatch: pytest.MonkeyPatch, fault: bool = False
) -> list[CompiledThinker]:
    """The engines that were started for it."""
    started: list[CompiledThinker] = []

    async def start(_: Launcher, spec: StageSpec) -> CompiledThinker:
        assert runs_compiled(settings)
        if fault:
            raise RuntimeError("no memory")
        started.append(CompiledThinker(spec))
        return started[-1]

    monkeypatch.setattr(Launcher, "start", start)
    monkeypatch.setattr(module, "adopt_children", lambda: None)
    monkeypatch.setattr(launch, "prepare_environment", lambda *_, **__: None)
    await compile_ahead(settings, lambda _: None)
    return started


async def test_the_thinker_alone_is_started_and_ended(
    settings: EngineSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (thinker,) = await compile_with(settings, monkeypatch)
    assert thinker.spec.name == "thinker"
    assert thinker.ended


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
