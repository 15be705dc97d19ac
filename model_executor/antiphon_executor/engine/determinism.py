"""The settings of `--engine.deterministic`: what one request leaves behind for the next is switched off."""

from __future__ import annotations

from antiphon_executor.interface.settings import EngineSettings


def with_determinism(settings: EngineSettings) -> EngineSettings:
    """A cached prefix would change the chunks of a prompt, and so its last bits."""
    if not settings.deterministic:
        return settings
    thinker = settings.thinker.model_copy(update={"enable_prefix_caching": False})
    return settings.model_copy(update={"thinker": thinker})
