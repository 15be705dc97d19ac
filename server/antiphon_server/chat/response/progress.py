"""Progress of a long prompt, from the engine's events to what a client reads."""

from __future__ import annotations

from antiphon_executor.interface.events import PromptProgress
from antiphon_server.openai_api.response import Progress


class ProgressMeter:
    """Knows the rate since the first event: before it the prompt waited, and media were prepared."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def read(
        self, event: PromptProgress, now_s: float, media_s: float, decoded_s: float | None = None
    ) -> Progress:
        """`media_s`: audio and video of the request. `decoded_s`: of them; None: all."""
        share = event.tokens / event.total if event.total else 1.0
        return Progress(
            prefilled_tokens=event.tokens,
            prompt_tokens=event.total,
            prefilled_seconds=round(share * media_s, 1),
            decoded_seconds=round(media_s if decoded_s is None else decoded_s, 1),
            eta_seconds=self._eta_s(event, now_s),
        )

    def _eta_s(self, event: PromptProgress, now_s: float) -> float | None:
        if self._first is None:
            self._first = now_s, event.tokens
            return None
        began_s, before = self._first
        done, passed_s = event.tokens - before, now_s - began_s
        return round((event.total - event.tokens) * passed_s / done, 1) if done > 0 else None
