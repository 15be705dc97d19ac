"""One request to the engine: prompt token ids, decoded media, sampling parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from antiphon_executor.interface.media import Media

MAX_SPEECH_TOP_K = 64

EngineMark = Literal[
    "thinker_queued",
    "thinker_scheduled",
    "thinker_first_token",
    "talker_asked",
    "talker_queued",
    "talker_scheduled",
    "talker_first_step",
    "first_frame",
]

MarkSink = Callable[[EngineMark, float], None]


@dataclass(frozen=True, slots=True)
class RepetitionDetection:
    """Ends a text that repeats itself: when its last `min_count` groups of tokens are equal.

    The group size is any from `min_pattern_size` to `max_pattern_size` tokens.
    """

    max_pattern_size: int
    min_pattern_size: int = 1
    min_count: int = 2


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """The JSON schema of an answer. `text`: JSON; `param`: the request field that held it, for errors."""

    text: str
    param: str


@dataclass(frozen=True, slots=True)
class TextSampling:
    """Sampling parameters of the Thinker's text. None: the engine's default (no limit on repetition).

    `min_tokens`: before them neither an end token, nor one of `stop_token_ids`, nor `stop` ends the text.
    `ignore_eos`: the model's end tokens do not end it, and the text goes on after them. The token of
    `stop_token_ids` that ends a text is not part of it; the one of `stop` is with `include_stop`.
    `answers`: the text is one of them; empty: any text.
    """

    max_tokens: int | None = None
    min_tokens: int = 0
    ignore_eos: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    include_stop: bool = False
    choices: int = 1
    top_logprobs: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    schema: AnswerSchema | None = None
    answers: tuple[str, ...] = ()
    repetition_detection: RepetitionDetection | None = None


@dataclass(frozen=True, slots=True)
class SpeechSampling:
    """Sampling parameters of the Talker. `temperature` 0 is greedy in every code group.

    `top_k` and `predictor_top_k`: 1 to `MAX_SPEECH_TOP_K`. `max_frames`: frames of 80 ms; the engine's own
    limit also applies. `predictor_temperature`, `predictor_top_p`: None means the model family's default.
    """

    voice: str
    temperature: float = 0.9
    top_k: int = 50
    top_p: float = 1.0
    repetition_penalty: float = 1.05
    predictor_temperature: float | None = None
    predictor_top_k: int = 50
    predictor_top_p: float | None = None
    seed: int | None = None
    max_frames: int = 4_096


@dataclass(frozen=True, slots=True)
class TokensAhead:
    """Tokens of a prompt that were `read` ahead, and those that the prefix cache had `found` before that."""

    read: int = 0
    found: int = 0

    def cached(self, tokens: int) -> int:
        """How many of the prompt's `tokens` that the prefix cache has now are not from reading ahead."""
        return tokens if tokens > self.read else min(tokens, self.found)


@dataclass(frozen=True, slots=True)
class OmniRequest:
    """One request. `speech` None: text only.

    `prompt_token_ids` holds one placeholder token per media item (`<|audio_pad|>`, `<|image_pad|>`,
    `<|video_pad|>`), which the engine expands. `cache_salt` separates the prefix caches of tenants.
    `live`: the speech is played while it is generated, so it must keep up with real time.
    `unspoken_from`: the token from which on the text is not spoken, such as the opening of a tool call.
    `on_mark`: called with each mark of the request trace and its monotonic time in seconds.
    `ahead`: what was read of the prompt before.
    """

    request_id: str
    prompt_token_ids: tuple[int, ...]
    media: Media = field(default_factory=Media)
    text: TextSampling = field(default_factory=TextSampling)
    speech: SpeechSampling | None = None
    cache_salt: str | None = None
    live: bool = False
    unspoken_from: int | None = None
    on_mark: MarkSink | None = None
    ahead: TokensAhead = field(default_factory=TokensAhead)

    @property
    def has_media(self) -> bool:
        return bool(self.media.audios or self.media.images or self.media.videos)

    def without_media(self) -> OmniRequest:
        """The request once its prompt is made: decoded media may be gigabytes."""
        return replace(self, media=Media())


@dataclass(frozen=True, slots=True)
class ReadingRequest:
    """A text to read aloud: the Talker alone speaks it, without a request to the Thinker.

    `pieces`: the text's token ids, cut where a reader pauses. `prompts`: for each piece the conversation that
    it answers, without media, which ends in the assistant's open turn. The pieces' speech follows without a
    gap. `speech.max_frames` limits all of them together; `live`, `on_mark` as in `OmniRequest`.
    """

    request_id: str
    prompts: tuple[tuple[int, ...], ...]
    pieces: tuple[tuple[int, ...], ...]
    speech: SpeechSampling
    live: bool = False
    on_mark: MarkSink | None = None
