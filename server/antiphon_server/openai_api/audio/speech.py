"""The request body of `POST /v1/audio/speech`, and the events of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, Field, StringConstraints

from antiphon_executor.interface.request import MAX_SPEECH_TOP_K
from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.base import ApiModel, Flag, Name
from antiphon_server.openai_api.body import parse_body
from antiphon_server.openai_api.limits import MAX_SEED, MAX_SPOKEN_CHARS, MAX_TOKENS
from antiphon_server.openai_api.options import VoiceChoice

SpeechFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
SampleRate = Literal[8_000, 16_000, 24_000, 48_000]

_CLONING = frozenset({"ref_audio", "ref_text", "task_type", "speaker_embedding"})


class SpeechRequest(ApiModel):
    """OpenAI's request, and some fields of vLLM-Omni's. `input` is read to the letter.

    `model`: the served model, or one of OpenAI's speech models by name. `stream_format` "sse" sends events
    instead of the bytes of the audio. The answer streams always; `stream` is accepted and changes nothing.
    Ours: `sample_rate`, and `timestamp_granularities: ["word"]`, which adds `words` to the events (see chat's
    `audio.timestamp_granularities`). `seed`, `temperature`, `top_k`, `top_p` are those of the speech.
    `max_new_tokens`: of 80 ms each.
    """

    ignored = frozenset({"user", "metadata"})
    neutral: ClassVar[Mapping[str, tuple[Any, ...]]] = {"instructions": ("",)}

    model: Name | None = None
    input: Annotated[str, StringConstraints(min_length=1, max_length=MAX_SPOKEN_CHARS)]
    voice: VoiceChoice | None = Field(None, validation_alias=AliasChoices("voice", "speaker"))
    response_format: SpeechFormat = "mp3"
    speed: Annotated[float, Field(ge=0.25, le=4, strict=True)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"
    stream: Flag = True
    sample_rate: SampleRate = 24_000
    timestamp_granularities: tuple[Literal["word"], ...] = Field(default=(), max_length=1)
    seed: Annotated[int, Field(ge=-MAX_SEED, le=MAX_SEED, strict=True)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, strict=True)] | None = None
    top_k: Annotated[int, Field(ge=1, le=MAX_SPEECH_TOP_K, strict=True)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1, strict=True)] | None = None
    max_new_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS, strict=True)] | None = None


def parse_speech_request(body: bytes) -> SpeechRequest:
    """Raises BadRequest, whose `param` is the path of the field in the client's JSON."""
    try:
        return parse_body(body, SpeechRequest)
    except BadRequest as error:
        if error.param not in _CLONING:
            raise
        raise BadRequest(
            "Voices cannot be cloned from a recording: this checkpoint has no codec encoder.",
            param=error.param,
            code="voice_cloning_unsupported",
            hint="GET /v1/audio/voices lists the voices of the model.",
        ) from None


class SpeechUsage(ApiModel):
    """`input_tokens`: of the text. `output_tokens`: one per frame of 80 ms."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class SpokenWord(ApiModel):
    """Ours: a word of the input, with the seconds of the audio at which it is spoken."""

    word: str
    start: float
    end: float


class SpeechAudioDelta(ApiModel):
    """The next bytes of the audio file, in base64. `words`: of the audio so far."""

    type: Literal["speech.audio.delta"] = "speech.audio.delta"
    audio: str
    words: list[SpokenWord] | None = None


class SpeechAudioDone(ApiModel):
    type: Literal["speech.audio.done"] = "speech.audio.done"
    usage: SpeechUsage
