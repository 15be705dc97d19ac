"""How far a request is before its slot: its media are decoded, and perhaps read ahead by the engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from antiphon_executor.interface.engine import ReadAhead
from antiphon_executor.interface.events import PromptProgress
from antiphon_server.media.decoding_progress import DecodingProgress


@dataclass(slots=True)
class Preparation:
    """Belongs to one request. `reading`: while it is read ahead."""

    text_tokens: int = 0
    decoding: DecodingProgress = field(default_factory=DecodingProgress)
    reading: ReadAhead | None = None

    def progress(self) -> PromptProgress | None:
        """None before the length of any medium is known. The total may be corrected later."""
        if not self.decoding.seconds:
            return None
        read = self.reading.tokens_read if self.reading is not None else 0
        return PromptProgress(read, max(self.text_tokens + self.decoding.tokens, read))
