"""The events of a request, in the order in which they happen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

OUTPUT_SAMPLE_RATE_HZ = 24_000

FRAMES_PER_SECOND = 12.5

SAMPLES_PER_FRAME = 1_920

FinishReason = Literal["stop", "length"]

GuardReason = Literal["overlong", "cycle", "silence"]


@dataclass(frozen=True, slots=True)
class PromptCounted:
    """First event of a turn: the prompt's tokens by kind, after expansion.

    `video` counts video patches, `audio` every audio token, a video's sound included; `text` is the rest.
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
class TokenLogprob:
    """`token` as text, `token_bytes` its UTF-8 bytes; `top` the alternatives, best first."""

    token: str
    token_bytes: bytes
    logprob: float
    top: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text of one choice, and how many tokens it took.

    `spoken_ends`: in a spoken answer, for each token that goes to the Talker now, where in the whole answer's
    text its own ends, in characters. Text behind the last of them is never spoken.
    """

    choice: int
    text: str
    tokens: int
    logprobs: tuple[TokenLogprob, ...] = ()
    spoken_ends: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TextEnded:
    choice: int
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class SpeechDelta:
    """More speech: `pcm` is s16le mono at 24 kHz.

    `frames`: code frames in this piece (80 ms each; the first frame of a stream is 555 samples short).
    `text_tokens`: how many of the text's tokens that go to the Talker (`TextDelta.spoken_ends`) the stream
    had taken in by the end of this piece; a full stop that closes a text which was cut counts too. `pace`:
    how much slower than ordinary the voice speaks (`spoken_length.VoicePace`), as far as is known.
    """

    pcm: bytes
    frames: int
    text_tokens: int
    pace: float = 1.0


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The stream is complete: `stop` by the Talker itself, `length` at `max_frames`.

    Or it was cut because it had `guard_reason`, which is a `length` too: clients know no better word for it.
    `real_time_factor`: how long its frames took to make, over their length, without pauses; None where no
    frame was timed.
    """

    finish_reason: FinishReason
    frames: int
    guard_reason: GuardReason | None = None
    real_time_factor: float | None = field(default=None, compare=False)


OmniEvent = PromptCounted | TextDelta | TextEnded | SpeechDelta | SpeechEnded
