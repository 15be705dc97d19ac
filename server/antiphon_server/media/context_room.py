"""The tokens that the media of one request may take: what its text leaves of the model's context."""

from __future__ import annotations

from dataclasses import dataclass, field

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ
from antiphon_executor.interface.media_geometry import MediaGeometry, Size

# An answer has at least one token.
_LEAST_ANSWER = 1


@dataclass(slots=True)
class ContextRoom:
    """Belongs to one request. `text_tokens`: with one placeholder for each part."""

    geometry: MediaGeometry
    context_tokens: int
    text_tokens: int
    _parts: dict[str, int] = field(default_factory=dict)

    def left_for(self, param: str) -> int:
        """Tokens for the part at `param`, beside the text and the other parts that are known."""
        others = sum(tokens for part, tokens in self._parts.items() if part != param)
        return self.context_tokens - _LEAST_ANSWER - self.text_tokens - others

    def take(self, param: str, tokens: int) -> None:
        """The part has this many tokens. A better estimate replaces the one before."""
        self._parts[param] = tokens

    def audio_tokens(self, seconds: float) -> int:
        return self.geometry.audio_tokens(max(int(seconds * INPUT_SAMPLE_RATE_HZ), 1))

    def image_tokens(self, height: int, width: int) -> int:
        return self.geometry.image_tokens(height, width)

    def video_tokens(self, frames: int, fps: float, size: Size, samples: int) -> int:
        return self.geometry.video_tokens(frames, fps, size, samples)

    def audio_seconds_for(self, tokens: int) -> int:
        """The longest audio of whole seconds that takes at most `tokens`."""
        short, long = 0, max(tokens, 0) + 1
        while long - short > 1:
            middle = (short + long) // 2
            if self.audio_tokens(middle) <= tokens:
                short = middle
            else:
                long = middle
        return short
