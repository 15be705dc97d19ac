"""vLLM's plugin: registers our models and our KV connector in every vLLM process.

vLLM calls it by the entry point `vllm.general_plugins`. Classes are registered by name, so that a process
imports only what it uses.
"""

from __future__ import annotations

from functools import cache

from antiphon_executor.ipc.environment import keep_temporary_files_private
from antiphon_executor.ipc.import_pause import resume_collection
from antiphon_executor.ipc.parent_watchdog import is_engine_process, watch_parent
from antiphon_executor.models.architectures import (
    ARIA_TALKER_ARCHITECTURE,
    ARIA_THINKER_ARCHITECTURE,
    HIDDEN_STATES_CONNECTOR,
    TALKER_ARCHITECTURE,
    THINKER_ARCHITECTURE,
)

_MODELS = {
    THINKER_ARCHITECTURE: "antiphon_executor.models.qwen3_omni.thinker:Qwen3OmniThinker",
    TALKER_ARCHITECTURE: "antiphon_executor.models.qwen3_omni.talker:Qwen3OmniTalker",
    ARIA_THINKER_ARCHITECTURE: "antiphon_executor.models.qwen3_5_omni.thinker:Qwen3_5OmniThinker",
    ARIA_TALKER_ARCHITECTURE: "antiphon_executor.models.aria.talker:Qwen3_5OmniTalker",
}


@cache
def register() -> None:
    """Registers everything, once per process; further calls do nothing."""
    watch_parent()
    if is_engine_process():
        resume_collection()
        keep_temporary_files_private()

    from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
    from vllm.model_executor.models import ModelRegistry

    from antiphon_executor.models.qwen3_5_omni.config import register as register_config

    register_config()
    for architecture, model in _MODELS.items():
        ModelRegistry.register_model(architecture, model)
    KVConnectorFactory.register_connector(
        HIDDEN_STATES_CONNECTOR, "antiphon_executor.models.hidden_states.connector", "HiddenStatesConnector"
    )
