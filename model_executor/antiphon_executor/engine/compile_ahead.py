"""Compiles the Thinker for later starts, by a start of its engine that does compile (`antiphon compile`)."""

from __future__ import annotations

from vllm.platforms import current_platform
from vllm.plugins import load_general_plugins

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.engine.effective_settings import checked_settings
from antiphon_executor.engine.launch import Launcher, engine_surroundings, stage_specs
from antiphon_executor.interface.errors import OperatorError
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.ipc.parent_watchdog import adopt_children
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
    adopt_children()
    load_general_plugins()
    config = read_config(settings.model)
    settings = await checked_settings(settings, config, progress)
    mark = mark_of(settings)
    mark.parent.mkdir(parents=True, exist_ok=True)
    # The start compiles because of the mark; a server that starts meanwhile compiles too.
    mark.touch()
    try:
        async with engine_surroundings(settings) as (folder, bridge):
            thinker = stage_specs(settings, config, folder)[0]
            stage = await Launcher(progress, bridge).start(thinker)
            await stage.end()
    except BaseException:
        mark.unlink(missing_ok=True)
        raise
