"""The long prompts that the Thinker reads now, for the answer to a ping: in its scheduler's own process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

# The prefill of a shorter prompt ends before a client would read of its progress.
LONG_TOKENS = 4_096


class ReadPrompt(Protocol):
    """The part of vLLM's request that is read here."""

    request_id: str
    num_computed_tokens: int
    num_prompt_tokens: int


class PrefillWatch:
    """Empty in a process without a scheduler."""

    def __init__(self) -> None:
        self._running: Callable[[], Iterable[ReadPrompt]] = tuple

    def follow(self, running: Callable[[], Iterable[ReadPrompt]]) -> None:
        """`running`: the scheduler's running requests."""
        self._running = running

    def long_prompts(self) -> dict[str, tuple[int, int]]:
        """Computed and all tokens, by vLLM's request id."""
        return {
            one.request_id: (one.num_computed_tokens, one.num_prompt_tokens)
            for one in self._running()
            if one.num_prompt_tokens >= LONG_TOKENS and one.num_computed_tokens < one.num_prompt_tokens
        }


PREFILL_WATCH = PrefillWatch()
