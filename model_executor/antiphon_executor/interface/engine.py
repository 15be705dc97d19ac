"""The boundary between the server and the engines: what a turn is, and what comes back.

In: one `TurnRequest` (token ids with one placeholder per media item, decoded media, sampling).
Out: `TurnEvent`s in the order in which they happen. Nothing here imports torch, vLLM or HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from prometheus_client.metrics_core import Metric

from antiphon_executor.interface.capacity import EngineCapacity, FrameTime
from antiphon_executor.interface.media_geometry import MediaGeometry

LISTENING_RATE_HZ = 16_000
SPEAKING_RATE_HZ = 24_000
FRAMES_PER_SECOND = 12.5
SAMPLES_PER_FRAME = 1_920
MAX_SPEECH_TOP_K = 64

FinishReason = Literal["stop", "length"]
Derailment = Literal["overlong", "cycle", "silence"]
Milestone = Literal[
    "thinker_queued",
    "thinker_scheduled",
    "thinker_first_token",
    "talker_asked",
    "talker_queued",
    "talker_scheduled",
    "talker_first_step",
    "first_frame",
]
Note = Callable[[Milestone, float], None]


@dataclass(frozen=True, slots=True)
class AudioClip:
    """Mono sound at 16 kHz. `samples`: float32 [num_samples], within -1 to 1."""

    samples: NDArray[np.float32]

    @property
    def seconds(self) -> float:
        return len(self.samples) / LISTENING_RATE_HZ


@dataclass(frozen=True, slots=True)
class Picture:
    """One still image. `pixels`: uint8 [height, width, 3], RGB."""

    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class VideoClip:
    """Sampled frames of a video, evenly spaced, and its sound where the model is to hear it.

    `frames`: uint8 [num_frames, height, width, 3], RGB. `frames_per_second`: the spacing of `frames`,
    not of the source. `sound` is None for a silent video and where `use_audio_in_video` is off.
    """

    frames: NDArray[np.uint8]
    frames_per_second: float
    sound: AudioClip | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """The media of a turn, each kind in the order of its placeholders in the prompt."""

    audios: tuple[AudioClip, ...] = ()
    pictures: tuple[Picture, ...] = ()
    videos: tuple[VideoClip, ...] = ()


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
class TurnRequest:
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
    note: Note | None = None


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

    Or it was cut because it had `derailed`, which is a `length` too: clients know no better word for it.
    `real_time_factor`: how long its frames took to make, over their length, without pauses; None where no
    frame was timed.
    """

    finish_reason: FinishReason
    frames: int
    derailed: Derailment | None = None
    real_time_factor: float | None = field(default=None, compare=False)


TurnEvent = PromptCounted | TextDelta | TextEnded | SpeechDelta | SpeechEnded


@dataclass(frozen=True, slots=True)
class MemoryItem:
    """One line of the memory plan, for the banner."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice to speak in. `language`: a BCP 47 tag. It and `licence` are None where nobody says."""

    id: str
    name: str
    language: str | None = None
    licence: str | None = None
    default: bool = False


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the server needs to know of the loaded model.

    `sampling`, `speech`: what its makers recommend, for what a request leaves open; `speech` in the default
    voice, None where it does not speak. `voice_table`: every voice, one of them the default; empty there.
    `media`: how large the model makes pictures, and how many tokens media take.
    """

    name: str
    family: str
    path: Path
    context_tokens: int
    input_modalities: tuple[str, ...]
    voice_table: tuple[Voice, ...]
    random_weights: bool
    sampling: TextSampling = TextSampling()
    speech: SpeechSampling | None = None
    memory: tuple[MemoryItem, ...] = ()
    capacity: EngineCapacity = field(default_factory=EngineCapacity)
    media: MediaGeometry = field(default_factory=MediaGeometry)

    @property
    def voices(self) -> tuple[str, ...]:
        """Their ids: what `SpeechSampling.voice` may be."""
        return tuple(voice.id for voice in self.voice_table)

    @property
    def default_voice(self) -> str | None:
        return next((voice.id for voice in self.voice_table if voice.default), None)

    @property
    def speaks(self) -> bool:
        return bool(self.voice_table)


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """`stages`: alive by name (`thinker`, `talker`). Running counts and slots as of now.

    A stage that is not alive is being restarted, unless it is among those `given_up`. `stuck`: stages that
    are alive and take no work just now, with the reason. `parked`: streams that rest because they are far
    enough ahead of their clients. `frame_time`: empty while nothing is known of it.
    `dropped_messages`: of the sockets that the server reads, by the stage that sends.
    """

    stages: dict[str, bool]
    thinker_running: int
    talker_running: int
    slots_used: int
    slots_total: int
    given_up: tuple[str, ...] = ()
    restarts: dict[str, int] = field(default_factory=dict)
    parked: int = 0
    frame_time: FrameTime = field(default_factory=FrameTime)
    dropped_messages: dict[str, int] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        return all(self.stages.values())


class OperatorError(ValueError):
    """What the operator gave cannot be served; the message names it, in one line. Raised at start alone."""


class EngineError(Exception):
    """Base of what an engine raises from `generate`. Messages are fit for a client.

    EngineError
    ├── InvalidTurn        the request cannot be served as it is (`param` names the part, `code` the kind)
    ├── EngineBusy         no room now; try again after `retry_after_s`
    ├── AnswerLost         this answer has lost a part inside the server; others go on
    └── EngineDead         a stage has died; nothing can be served
    """


class InvalidTurn(EngineError):
    def __init__(self, message: str, param: str | None = None, code: str = "invalid_turn") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class EngineBusy(EngineError):
    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AnswerLost(EngineError):
    """`part`: what was lost, and how, in a client's words."""

    def __init__(self, part: str) -> None:
        super().__init__(f"the answer cannot be completed: {part}; send the request again")


class EngineDead(EngineError):
    """`retry_after_s`: when the stage may be back; None where it is not started again."""

    def __init__(self, stage: str, retry_after_s: float | None = None) -> None:
        coming = "" if retry_after_s is None else " and is being restarted"
        super().__init__(f"the {stage} engine has stopped{coming}")
        self.stage = stage
        self.retry_after_s = retry_after_s


class OmniEngine(Protocol):
    """All that the server knows of an engine."""

    @property
    def card(self) -> ModelCard: ...

    def generate(self, turn: TurnRequest) -> AsyncIterator[TurnEvent]:
        """`PromptCounted` first, one `TextEnded` a choice, and one `SpeechEnded` if the turn speaks.

        Closing the iterator, or cancelling the task that reads it, aborts every stage at once.
        """
        ...

    def taken(self, request_id: str, samples: int) -> None:
        """The client of a turn that runs has taken this much of its speech, all counted.

        The engine makes speech no further ahead of its client than its settings say. A turn of which this is
        never told has a client that takes everything at once. Unknown turns are ignored.
        """
        ...

    def status(self) -> EngineStatus: ...

    def metrics(self) -> Iterable[Metric]:
        """The engines' own Prometheus metrics, labelled by `stage`."""
        ...

    async def close(self) -> None: ...
