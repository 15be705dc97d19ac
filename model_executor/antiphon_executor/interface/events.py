"""The events of a request, in the order in which they happen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

OUTPUT_SAMPLE_RATE_HZ = 24_000

FRAMES_PER_SECOND = 12.5

SAMPLES_PER_FRAME = 1_920

FinishReason = Literal["stop", "length"]

GuardReason = Literal["overlong", "cycle", "silence"]
"""Why the guard stopped speech: too long for its text, repeating itself, or silent."""


@dataclass(frozen=True, slots=True)
class PromptCounted:
    """First event of a request, but for `PromptProgress`: prompt tokens by kind, after media expansion.

    `video` counts video patches, `audio` all audio tokens including those of videos, `text` the rest.
    `cached`: tokens found in the prefix cache.
    """

    text: int
    audio: int
    image: int
    video: int
    cached: int

    @property
    def total(self) -> int:
        return self.text + self.audio + self.image + self.video


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """A long prompt is being read: the Thinker has computed `tokens` of `total`, media included."""

    tokens: int
    total: int


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """Log probability of one token. `token_bytes`: UTF-8. `top`: the alternatives, most likely first."""

    token: str
    token_bytes: bytes
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Next piece of one choice's text. `tokens`: tokens that were generated for it.

    `spoken_ends`: in a spoken answer, for each token passed to the Talker with this piece, the character
    offset in the whole text at which it ends. Text after the last offset is not spoken. `token_ids`: of the
    tokens, with one that ended the text.
    """

    choice: int
    text: str
    tokens: int
    logprobs: tuple[TokenLogprob, ...] = ()
    spoken_ends: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TextEnded:
    choice: int
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class SpeechDelta:
    """Next piece of speech. `pcm`: s16le, mono, 24 kHz.

    `frames`: codec frames in this piece (80 ms each; the first frame of a stream is 555 samples shorter).
    `text_tokens`: how many of the tokens passed to the Talker (`TextDelta.spoken_ends`) the stream had
    consumed by the end of this piece, including a full stop added to a cut text. `pace`: the voice's
    slowness relative to an ordinary voice (`spoken_length.VoicePace`); 1 if unknown.
    """

    pcm: bytes
    frames: int
    text_tokens: int
    pace: float = 1.0


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Last event of a speech stream: `stop` if the Talker ended it, `length` at `max_frames`.

    `guard_reason`: why the speech guard cut it; the finish reason is `length` then. `real_time_factor`:
    generation time divided by duration, without pauses; None if no frame was timed.
    """

    finish_reason: FinishReason
    frames: int
    guard_reason: GuardReason | None = None
    real_time_factor: float | None = field(default=None, compare=False)


OmniEvent = PromptProgress | PromptCounted | TextDelta | TextEnded | SpeechDelta | SpeechEnded
