"""Fields of other servers and newer clients that a chat request may carry without an effect.

One rule: a known field at a value that asks for nothing is accepted, and so is a hint that cannot change
whether an answer is correct. Any other value is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# OpenAI's bookkeeping, and hints on speed, style and caching.
HINTS = frozenset(
    {
        "user",
        "store",
        "metadata",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "moderation",
        "verbosity",
        "prediction",
        "request_id",
        "session_id",
    }
)
# The defaults of vLLM, SGLang and others, which evaluation tools and routers write out.
NEUTRAL_SAMPLING: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "use_beam_search": (False,),
    "length_penalty": (1,),
    "early_stopping": (False,),
    "priority": (0,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "detokenize": (True,),
    "bad_words": ([],),
    "allowed_token_ids": ([],),
    "return_token_ids": (False,),
    "return_tokens_as_token_ids": (False,),
    "kv_transfer_params": ({},),
    "vllm_xargs": ({},),
    "max_tokens": (-1,),
    "max_completion_tokens": (-1,),
    "stop": ("",),
}
NEUTRAL_CHAT: Mapping[str, tuple[Any, ...]] = {
    **NEUTRAL_SAMPLING,
    "echo": (False,),
    "add_special_tokens": (False,),
    "include_reasoning": (True,),
    "separate_reasoning": (True,),
    "documents": ([],),
    "functions": ([],),
    "function_call": ("none", "auto"),
}
