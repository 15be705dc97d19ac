"""The options of a benchmark run: the command line as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Input = Literal["text", "audio", "image", "video"]
Answer = Literal["speech", "text"]
# How requests are written. The field that holds the audio of an answer is always detected.
Dialect = Literal["auto", "openai", "dashscope", "vllm-omni"]

TurnDetection = Literal["server_vad", "semantic_vad"]

INPUTS: tuple[Input, ...] = get_args(Input)


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in one currency: per hour of the whole machine, and per million tokens."""

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
    """One load level: `concurrency` requests in flight, or `rate_hz` new requests per second."""

    concurrency: int | None = None
    rate_hz: float | None = None

    @property
    def name(self) -> str:
        return f"{self.rate_hz:g}/s" if self.rate_hz is not None else str(self.concurrency)


@dataclass(frozen=True, slots=True)
class Workload:
    """The content of the requests. The fields of `extra` are added to each body unchanged."""

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
class JudgeOptions:
    """A local speech recogniser that measures word errors: a command, or a Whisper model.

    `answers`: answers per level that it transcribes.
    """

    command: tuple[str, ...] = ()
    whisper: str | None = None
    answers: int = 16

    @property
    def is_wanted(self) -> bool:
        return bool(self.command or self.whisper)


@dataclass(frozen=True, slots=True)
class RealtimeOptions:
    """Spoken conversations of `turns` turns. `utterances_s`: how long the user speaks, a level for each.

    `end_within_s`: of an utterance, for a server to notice it. `pause_s`: the user's, after an answer.
    """

    turns: int = 10
    utterances_s: tuple[float, ...] = (2.0, 10.0, 30.0)
    turn_detection: TurnDetection = "server_vad"
    end_within_s: float = 5.0
    pause_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Options:
    """`requests` and `duration_s` limit each level. `start_buffer_s`: the start buffer of the virtual player.

    `max_loop_lag_s`: the 99th percentile of event loop lag above which a level is reported as unreliable.
    """

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
    workload: Workload = field(default_factory=Workload)
    prices: Prices = field(default_factory=Prices)
    judge: JudgeOptions = field(default_factory=JudgeOptions)
    realtime: RealtimeOptions | None = None
    json_path: Path | None = None
    plot_path: Path | None = None
    command: str = ""
