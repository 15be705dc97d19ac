"""One request to the engine: prompt token ids, decoded media, sampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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
    """A text is cut when it goes round: its last `min_count` stretches of tokens, of a size from
    `min_pattern_size` to `max_pattern_size`, are the same.
    """

    max_pattern_size: int
    min_pattern_size: int = 1
    min_count: int = 2


@dataclass(frozen=True, slots=True)
class TextSampling:
    """How the Thinker's text is drawn. None means: the engine's default; of repetition: let it be.

    `schema_param`: the field of the request that `json_schema` is of, for errors.
    """

    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    choices: int = 1
    top_logprobs: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    json_schema: str | None = None
    schema_param: str = "response_format"
    repetition_detection: RepetitionDetection | None = None


@dataclass(frozen=True, slots=True)
class SpeechSampling:
    """How the Talker speaks the text. `temperature` 0 is greedy, in every code group.

    Both `top_k`s: 1 to `MAX_SPEECH_TOP_K`. `max_frames`: 80 ms each; the engine may have a lower limit of its
    own. `predictor_temperature` and `predictor_top_p` None: as the
    family's makers draw.
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
class OmniRequest:
    """One answer to be made.

    `prompt_token_ids` holds one placeholder token per media item (`<|audio_pad|>`, `<|image_pad|>`,
    `<|video_pad|>`); the engine expands them. `speech` None asks for text alone. `cache_salt` keeps
    the prefix cache of tenants apart. `live`: somebody listens while the answer is made, and must not wait.
    `note` is told which milestone the turn reached at which monotonic second, where somebody asks.
    """

    request_id: str
    prompt_token_ids: tuple[int, ...]
    media: Media = field(default_factory=Media)
    text: TextSampling = field(default_factory=TextSampling)
    speech: SpeechSampling | None = None
    cache_salt: str | None = None
    live: bool = False
    on_mark: MarkSink | None = None
