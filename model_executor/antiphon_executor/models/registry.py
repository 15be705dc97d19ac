"""What vLLM loads in every one of its processes, by the entry point `vllm.general_plugins`.

In: nothing. Out: our models and our KV connector under their names in vLLM's registries, as strings, so
that nothing is imported before it is needed. Never starts an engine.
"""

from __future__ import annotations

from functools import cache

from antiphon_executor.ipc.environment import keep_temporary_files_private
from antiphon_executor.ipc.parent_watchdog import is_engine_process, watch_parent

THINKER_ARCHITECTURE = "AntiphonQwen3OmniThinker"
TALKER_ARCHITECTURE = "AntiphonQwen3OmniTalker"
ARIA_THINKER_ARCHITECTURE = "AntiphonQwen3_5OmniThinker"
ARIA_TALKER_ARCHITECTURE = "AntiphonQwen3_5OmniTalker"
HIDDEN_STATES_CONNECTOR = "HiddenStatesConnector"

_MODELS = {
    THINKER_ARCHITECTURE: "antiphon_executor.models.qwen3_omni.thinker:Qwen3OmniThinker",
    TALKER_ARCHITECTURE: "antiphon_executor.models.qwen3_omni.talker:Qwen3OmniTalker",
    ARIA_THINKER_ARCHITECTURE: "antiphon_executor.models.qwen3_5_omni.thinker:Qwen3_5OmniThinker",
    ARIA_TALKER_ARCHITECTURE: "antiphon_executor.models.aria.talker:Qwen3_5OmniTalker",
}


@cache
def register() -> None:
    """Register everything, once a process. A second call does nothing."""
    watch_parent()
    if is_engine_process():
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
