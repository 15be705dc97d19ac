"""Progress of a long prompt, from the engine's events to what a client reads."""

from __future__ import annotations

from antiphon_executor.interface.events import PromptProgress
from antiphon_server.openai_api.response import Progress


class ProgressMeter:
    """`media_seconds`: audio and video of the request, which are decoded."""

    def __init__(self, media_seconds: float) -> None:
        self._media_seconds = media_seconds
        self._first: tuple[float, int] | None = None

    def read(self, event: PromptProgress, now_s: float) -> Progress:
        """The rate is that since the first event: before it the prompt waited, and media were prepared."""
        share = event.tokens / event.total if event.total else 1.0
        return Progress(
            prefilled_tokens=event.tokens,
            prompt_tokens=event.total,
            prefilled_seconds=round(share * self._media_seconds, 1),
            decoded_seconds=round(self._media_seconds, 1),
            eta_seconds=self._eta_s(event, now_s),
        )

    def _eta_s(self, event: PromptProgress, now_s: float) -> float | None:
        if self._first is None:
            self._first = now_s, event.tokens
            return None
        began_s, before = self._first
        done, passed_s = event.tokens - before, now_s - began_s
        return round((event.total - event.tokens) * passed_s / done, 1) if done > 0 else None
