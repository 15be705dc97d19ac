"""Compiles the Thinker for later starts, by a start of the engine that does compile (`antiphon compile`)."""

from __future__ import annotations

from vllm.platforms import current_platform

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.engine.effective_settings import effective_settings
from antiphon_executor.engine.omni_engine import start_engine
from antiphon_executor.interface.errors import OperatorError
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.stages.compilation import has_compiler, mark_of
from antiphon_executor.stages.stage import Progress


async def compile_ahead(settings: EngineSettings, progress: Progress) -> None:
    """Raises `OperatorError` if there is nothing to compile or no compiler, and what a start raises."""
    if not current_platform.is_cpu():
        raise OperatorError("on a GPU the engine compiles its model when it starts")
    if settings.thinker.enforce_eager:
        raise OperatorError("engine.thinker.enforce_eager is set: the Thinker would not use what is compiled")
    if not has_compiler():
        raise OperatorError("there is no C++ compiler: install g++ or clang++")
    settings = effective_settings(settings, read_config(settings.model))
    mark = mark_of(settings)
    mark.parent.mkdir(parents=True, exist_ok=True)
    # The start compiles because of the mark; a server that starts meanwhile compiles too.
    mark.touch()
    try:
        engine = await start_engine(settings, progress)
    except BaseException:
        mark.unlink(missing_ok=True)
        raise
    await engine.close()
