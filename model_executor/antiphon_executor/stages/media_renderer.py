"""Renders prompts with media: vLLM's record of the features that the engine has stays true.

vLLM enters features into its sender cache when it renders them and sends them once; a later prompt sends
their names alone, and fails if the engine has never got them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, cast

from vllm.inputs import EngineInput, TokensPrompt
from vllm.v1.engine.async_llm import AsyncLLM

from antiphon_executor.interface.errors import EngineError


@dataclass(frozen=True, slots=True)
class Features:
    """Names of a rendered prompt's features: those `sent` with it, and those that the engine has `kept`."""

    sent: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @classmethod
    def of(cls, rendered: EngineInput) -> Features:
        fields = cast("dict[str, Any]", rendered)
        items = [
            (name, item is None)
            for kind, names in fields.get("mm_hashes", {}).items()
            for name, item in zip(names, fields["mm_kwargs"][kind], strict=True)
        ]
        return cls(
            sent=tuple(name for name, is_kept in items if not is_kept),
            kept=tuple(name for name, is_kept in items if is_kept),
        )


class MediaRenderer:
    """Renders one prompt at a time, as vLLM's single thread for media does."""

    def __init__(self, llm: AsyncLLM) -> None:
        self._llm = llm
        self._turn = asyncio.Lock()
        self._forgotten: set[str] = set()

    async def render(self, prompt: TokensPrompt) -> EngineInput:
        """Cancelled, it returns at once. The thread goes on, and what it has prepared is forgotten."""
        await self._turn.acquire()
        rendering = asyncio.create_task(self._render(prompt))
        try:
            rendered = await asyncio.shield(rendering)
        except BaseException:
            if rendering.done():
                self._abandon(rendering)
            else:
                rendering.add_done_callback(self._abandon)
            raise
        # A prompt that waits begins after the caller's next step, in which vLLM sends the features.
        self._turn.release()
        return rendered

    def forget(self, features: Features) -> None:
        """The engine does not get the sent ones: the next prompt that has one of them sends it again."""
        # At the next rendering, as the cache is not safe for another thread.
        self._forgotten.update(features.sent)

    def has_lost(self, features: Features) -> bool:
        """Whether vLLM has found that the engine lacks some of the features it was to have kept."""
        cache = self._llm.renderer.mm_processor_cache
        return cache is not None and not all(cache.is_cached(list(features.kept)))

    def _abandon(self, rendering: asyncio.Task[EngineInput]) -> None:
        error = asyncio.CancelledError() if rendering.cancelled() else rendering.exception()
        if error is None:
            self.forget(Features.of(rendering.result()))
        elif not isinstance(error, EngineError):
            # It may have entered some; our own errors come from reading the media, before that.
            self._llm.renderer.clear_mm_cache()
        self._turn.release()

    async def _render(self, prompt: TokensPrompt) -> EngineInput:
        cache = self._llm.renderer.mm_processor_cache
        if cache is None:
            return await self._rendered(prompt)
        for name in self._forgotten:
            cache.invalidate(name)
        self._forgotten.clear()
        try:
            rendered = await self._rendered(prompt)
            features = Features.of(rendered)
            is_whole = all(cache.is_cached([*features.sent, *features.kept]))
            again = not is_whole and bool(features.kept)
        except AssertionError:
            # vLLM's, for a feature of this prompt that another one of it has displaced.
            again = True
        if again:
            # With an empty cache all features are sent.
            self._llm.renderer.clear_mm_cache()
            rendered = await self._rendered(prompt)
            is_whole = all(cache.is_cached(list(Features.of(rendered).sent)))
        if not is_whole:
            # More than the cache holds: those in it would be displaced by the others the next time.
            self._llm.renderer.clear_mm_cache()
        return rendered

    async def _rendered(self, prompt: TokensPrompt) -> EngineInput:
        (rendered,) = await self._llm.renderer.render_cmpl_async([prompt])
        return cast("EngineInput", rendered)
