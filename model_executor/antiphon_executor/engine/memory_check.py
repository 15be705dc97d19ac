"""The memory plan of a server that starts: one line of progress, or a refusal of what cannot fit."""

from __future__ import annotations

from collections.abc import Callable

from transformers import PreTrainedConfig
from vllm.platforms import current_platform

from antiphon_executor.interface.errors import OperatorError
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.planning.planner import plan_memory
from antiphon_executor.planning.report import plan_as_line


def check_memory(settings: EngineSettings, config: PreTrainedConfig, progress: Callable[[str], None]) -> None:
    """Raises OperatorError for what no assumption can save: `antiphon plan` assumes working memory too."""
    on_cpu = current_platform.is_cpu()
    plan = plan_memory(config, settings, current_platform.get_device_total_memory(), gpus=not on_cpu)
    if plan.certain_shortages:
        hint = "'antiphon plan' with the same flags shows the whole plan"
        raise OperatorError(f"the model cannot fit: {'; '.join(plan.certain_shortages)} ({hint})")
    progress(plan_as_line(plan))
