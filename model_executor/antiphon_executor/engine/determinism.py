"""The settings of `--engine.deterministic`: what one request leaves behind for the next is switched off."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, cast

from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.stages.stage import Generate

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.inputs import TokensPrompt
    from vllm.outputs import RequestOutput

# Tokens of a prompt in one step, on a CPU with a Talker that wants the cores in between.
_CHUNK_TOKENS = 256


def with_determinism(settings: EngineSettings, *, on_cpu: bool) -> EngineSettings:
    """A cached prefix would change the chunks of a prompt, and so the last bits of its answer."""
    if not settings.deterministic:
        return settings
    thinker = settings.thinker
    changes: dict[str, object] = {"enable_prefix_caching": False}
    if on_cpu and settings.speech and thinker.max_num_batched_tokens is None:
        changes["max_num_batched_tokens"] = max(_CHUNK_TOKENS, thinker.max_num_seqs)
    return settings.model_copy(update={"thinker": thinker.model_copy(update=changes)})


def without_cache_keys(generate: Generate) -> Generate:
    """Prompts go without the cache keys of their media, so that each request's media are encoded anew.

    Which of them are encoded in one batch would depend on what is cached.
    """

    def generate_anew(
        prompt: TokensPrompt, params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput]:
        kept = {name: value for name, value in prompt.items() if name != "multi_modal_uuids"}
        return generate(cast("TokensPrompt", kept), params, request_id)

    return generate_anew
