"""What a run of `antiphon bench` was asked to do: the command line as one frozen value.

In: arguments and the environment. Out: `Options`, or one line of what is wrong with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Input = Literal["text", "audio", "image", "video"]
Answer = Literal["speech", "text"]
# How a request is written; where the sound of its answer stands is found out by itself.
Dialect = Literal["auto", "openai", "dashscope", "vllm-omni"]

INPUTS: tuple[Input, ...] = get_args(Input)


@dataclass(frozen=True, slots=True)
class Prices:
    """In one currency: an hour of the whole machine, and a million tokens."""

    machine_hour: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    input_audio_tokens: float | None = None
    output_audio_tokens: float | None = None

    @property
    def has_tokens(self) -> bool:
        tokens = (self.input_tokens, self.output_tokens, self.input_audio_tokens, self.output_audio_tokens)
        return any(price is not None for price in tokens)


@dataclass(frozen=True, slots=True)
class Level:
    """One load: so many requests at all times, or so many a second, whatever becomes of them."""

    concurrency: int | None = None
    rate_hz: float | None = None

    @property
    def name(self) -> str:
        return f"{self.rate_hz:g}/s" if self.rate_hz is not None else str(self.concurrency)


@dataclass(frozen=True, slots=True)
class Asking:
    """What the requests are. `extra` goes into each body as it is."""

    model: str | None = None
    voice: str | None = None
    dialect: Dialect = "auto"
    answer: Answer = "speech"
    inputs: tuple[Input, ...] = ("text",)
    prompts: tuple[str, ...] = ()
    recordings: tuple[Path, ...] = ()
    distinct: int = 16
    image_pixels: tuple[int, int] = (640, 480)
    video_s: float = 4.0
    max_tokens: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judging:
    """A local judge of what was said: a command, or a Whisper model."""

    command: tuple[str, ...] = ()
    whisper: str | None = None
    answers: int = 16

    @property
    def is_wanted(self) -> bool:
        return bool(self.command or self.whisper)


@dataclass(frozen=True, slots=True)
class Options:
    """`requests` and `duration_s` bound each level; `start_buffer_s` is the virtual player's."""

    url: str
    api_key: str | None = field(default=None, repr=False)
    levels: tuple[Level, ...] = (Level(concurrency=1),)
    requests: int | None = None
    duration_s: float | None = None
    warmup: int = 1
    timeout_s: float = 120.0
    retries: int = 0
    seed: int = 0
    start_buffer_s: float = 0.0
    leave_after_s: float | None = None
    max_loop_lag_s: float = 0.02
    asking: Asking = field(default_factory=Asking)
    prices: Prices = field(default_factory=Prices)
    judging: Judging = field(default_factory=Judging)
    json_path: Path | None = None
    plot_path: Path | None = None
    command: str = ""
