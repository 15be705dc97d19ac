"""The form of `POST /v1/audio/transcriptions` and `/translations`, and the answers to them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from antiphon_server.openai_api.base import ApiModel, Name, Text
from antiphon_server.openai_api.response import TokenLogprob

TranscriptFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
_Prompt = Annotated[Text, Field(max_length=8_000)]
_Milliseconds = Annotated[int, Field(ge=0, le=10_000)]


class ServerVad(ApiModel):
    """Pauses of `silence_duration_ms` end a piece, which begins `prefix_padding_ms` before its speech.

    `threshold`: the probability at which sound counts as speech.
    """

    type: Literal["server_vad"]
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    prefix_padding_ms: _Milliseconds = 300
    silence_duration_ms: Annotated[int, Field(ge=100, le=10_000)] = 500


class TranslationForm(ApiModel):
    """The fields beside the file."""

    ignored = frozenset({"user"})

    model: Name | None = None
    prompt: _Prompt = ""
    response_format: TranscriptFormat = "json"
    temperature: Annotated[float, Field(ge=0, le=1)] = 0.0

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """With the file, which is read apart from the fields."""
        reference = super().__get_pydantic_json_schema__(core_schema, handler)
        schema = handler.resolve_ref_schema(reference)
        schema["properties"]["file"] = {"type": "string", "format": "binary"}
        schema["required"] = ["file"]
        # A form has no nulls: each of its fields has to be a known one, with a value.
        schema["additionalProperties"] = False
        for name, field in schema["properties"].items():
            if name in cls.ignored:
                field["type"] = "string"
            if "anyOf" in field:
                field["anyOf"] = [one for one in field["anyOf"] if one != {"type": "null"}]
        return reference


class TranscriptionForm(TranslationForm):
    """`chunking_strategy` absent: one piece, or pieces that end in pauses if the recording is long.

    The last three are vLLM's: a stream that is asked for with one of the first two has vLLM's chunks.
    `max_completion_tokens`: of each piece.
    """

    language: Annotated[str, Field(max_length=16)] | None = None
    languages: tuple[Annotated[str, Field(max_length=16)], ...] = Field((), max_length=8)
    keywords: tuple[Annotated[str, Field(max_length=100)], ...] = Field((), max_length=100)
    stream: bool = False
    include: tuple[Literal["logprobs"], ...] = Field((), max_length=1)
    timestamp_granularities: tuple[Literal["segment"], ...] = Field((), max_length=1)
    chunking_strategy: Literal["auto"] | ServerVad | None = None
    stream_include_usage: bool | None = None
    stream_continuous_usage_stats: bool | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1 << 20)] | None = None


class TokenDetails(ApiModel):
    text_tokens: int
    audio_tokens: int


class TokenUsage(ApiModel):
    type: Literal["tokens"] = "tokens"
    input_tokens: int
    input_token_details: TokenDetails
    output_tokens: int
    total_tokens: int


class DurationUsage(ApiModel):
    type: Literal["duration"] = "duration"
    seconds: float


class Transcript(ApiModel):
    text: str
    logprobs: list[TokenLogprob] | None = None
    usage: TokenUsage


class Segment(ApiModel):
    """A piece of the recording between two pauses. `no_speech_prob`: its share of silence."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class VerboseTranscript(ApiModel):
    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    segments: list[Segment]
    usage: DurationUsage


class TranscriptDelta(ApiModel):
    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str


class TranscriptDone(ApiModel):
    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str
    usage: TokenUsage


class TranscriptChunkDelta(ApiModel):
    content: str


class TranscriptChunkChoice(ApiModel):
    delta: TranscriptChunkDelta
    finish_reason: Literal["stop", "length"] | None = None


class TranscriptChunkUsage(ApiModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TranscriptChunk(ApiModel):
    """A piece of a streamed transcript as vLLM writes it."""

    id: str
    object: Literal["transcription.chunk"] = "transcription.chunk"
    created: int
    model: str
    choices: list[TranscriptChunkChoice]
    usage: TranscriptChunkUsage | None = None
