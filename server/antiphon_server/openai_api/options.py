"""Nested options of a chat request: speech, streaming, response format, tools. Every field is bounded."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Discriminator, Field, Tag, model_validator

from antiphon_server.openai_api.base import (
    ApiModel,
    Flag,
    Fps,
    FrameCount,
    Location,
    Name,
    PixelOptions,
    Text,
    TotalPixels,
)
from antiphon_server.openai_api.limits import (
    MAX_ANSWER_CHOICES,
    MAX_CHOICE_CHARS,
    MAX_REPEATED_TOKENS,
    MAX_REPETITIONS,
    MAX_SCHEMA_JSON_CHARS,
    MAX_TOOLS,
    MAX_TOOLS_JSON_CHARS,
)

AudioFormat = Literal["wav", "mp3", "flac", "opus", "aac", "pcm16"]
# vLLM-Omni's clients call it `pcm`.
GivenAudioFormat = Annotated[
    AudioFormat,
    BeforeValidator(
        lambda given: "pcm16" if given == "pcm" else given,
        json_schema_input_type=AudioFormat | Literal["pcm"],
    ),
]
TranscriptTiming = Literal["as_generated", "as_spoken"]


def _check_schema_size(schema: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(schema, allow_nan=False)) > MAX_SCHEMA_JSON_CHARS:
        raise ValueError(f"the JSON schema is longer than {MAX_SCHEMA_JSON_CHARS} characters")
    return schema


def _check_tool_size(schema: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(schema, allow_nan=False)) > MAX_TOOLS_JSON_CHARS:
        raise ValueError(f"the JSON schema is longer than {MAX_TOOLS_JSON_CHARS} characters")
    return schema


JsonSchemaObject = Annotated[dict[str, Any], AfterValidator(_check_schema_size)]
# Part of the prompt. It is compiled, and then bounded as a schema, only if a call is required.
ToolParameters = Annotated[dict[str, Any], AfterValidator(_check_tool_size)]


class RepetitionOptions(ApiModel):
    """vLLM's: ends a text whose last `min_count` groups of tokens are equal, with `finish_reason` "length".

    The group size is any from `min_pattern_size` to `max_pattern_size`; 0 switches the detection off.
    """

    max_pattern_size: Annotated[int, Field(ge=0, le=MAX_REPEATED_TOKENS, strict=True)]
    min_pattern_size: Annotated[int, Field(ge=0, le=MAX_REPEATED_TOKENS, strict=True)] = 0
    min_count: Annotated[int, Field(ge=2, le=MAX_REPETITIONS, strict=True)] = 2

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_pattern_size and self.min_pattern_size > self.max_pattern_size:
            raise ValueError("min_pattern_size is greater than max_pattern_size")
        return self


class VoiceId(ApiModel):
    id: Name


class VoiceReference(ApiModel):
    """A voice to clone. `reference_audio`: base64, a data URL or a URL; `reference_text`: its transcript.

    vLLM-Omni's names `ref_audio` and `ref_text` are accepted too.
    """

    reference_audio: Location = Field(validation_alias=AliasChoices("reference_audio", "ref_audio"))
    reference_text: Text | None = Field(None, validation_alias=AliasChoices("reference_text", "ref_text"))


def _voice_kind(voice: Any) -> str:
    if isinstance(voice, VoiceReference):
        return "recording"
    if isinstance(voice, dict):
        return "recording" if any(name.startswith("ref") for name in voice) else "id"
    return "id" if isinstance(voice, VoiceId) else "name"


VoiceChoice = Annotated[
    Annotated[Name, Tag("name")]
    | Annotated[VoiceId, Tag("id")]
    | Annotated[VoiceReference, Tag("recording")],
    Discriminator(_voice_kind),
]


class AudioOptions(ApiModel):
    """`voice`: a voice of the model, one of OpenAI's names, or a recording. `format`: of the audio.

    Ours: `timestamp_granularities: ["word"]`, named as in OpenAI's transcriptions, adds `words` to the
    answer's audio: each word of the transcript with the seconds at which it is spoken. The times are
    estimated from the lengths of the words and the pauses of the speech; no speech recognition is involved.
    Measured on antiphon-nano, half of them are off by less than 0.1 s, and nine in ten by less than 0.2 s in
    a whole answer and 0.5 s in a stream. No word begins before the Talker has consumed it. In a stream, words
    come in audio deltas of their own, after their audio.
    `transcript_timing: "as_spoken"` sends the transcript of a stream in step with its audio, by the same
    estimate, instead of as soon as it is generated.
    """

    voice: VoiceChoice | None = None
    format: GivenAudioFormat | None = None
    timestamp_granularities: tuple[Literal["word"], ...] = Field(default=(), max_length=1)
    transcript_timing: TranscriptTiming = "as_generated"


class StreamOptions(ApiModel):
    """Ours: `include_progress`: while a long prompt is read, chunks without choices have a `progress`.

    `include_timing`: the last chunk has a `timing`.
    """

    ignored = frozenset({"include_obfuscation"})
    include_usage: Flag = False
    continuous_usage_stats: Flag = False
    include_progress: Flag = False
    include_timing: Flag = False


AnswerChoice = Annotated[str, Field(min_length=1, max_length=MAX_CHOICE_CHARS)]
AnswerChoices = Annotated[tuple[AnswerChoice, ...], Field(min_length=1, max_length=MAX_ANSWER_CHOICES)]


class StructuredOutputs(ApiModel):
    """vLLM's: the answer follows the JSON schema `json`, or is one of `choice`."""

    neutral: ClassVar = {
        "json_object": (False,),
        "disable_any_whitespace": (False,),
        "disable_additional_properties": (False,),
        "disable_fallback": (False,),
    }
    json_: JsonSchemaObject | None = Field(None, alias="json")
    choice: AnswerChoices | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.json_ is None) == (self.choice is None):
            raise ValueError("it needs either json or choice")
        return self


class TextFormat(ApiModel):
    type: Literal["text"]


class JsonObjectFormat(ApiModel):
    type: Literal["json_object"]


class NamedSchema(ApiModel):
    ignored = frozenset({"description", "strict"})
    name: Name
    schema_: JsonSchemaObject = Field(alias="schema")


class JsonSchemaFormat(ApiModel):
    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")]


class Function(ApiModel):
    ignored = frozenset({"strict"})
    name: Name
    description: Annotated[Text, Field(max_length=MAX_TOOLS_JSON_CHARS)] | None = None
    parameters: ToolParameters | None = None


class Tool(ApiModel):
    ignored = frozenset({"cache_control"})
    type: Literal["function"]
    function: Function


class FunctionName(ApiModel):
    name: Name


class NamedToolChoice(ApiModel):
    type: Literal["function"]
    function: FunctionName


class AllowedTools(ApiModel):
    mode: Literal["auto", "required"]
    tools: tuple[NamedToolChoice, ...] = Field(min_length=1, max_length=MAX_TOOLS)


class AllowedToolChoice(ApiModel):
    """Only some of the request's tools may be called."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


def _choice_kind(choice: Any) -> str:
    if isinstance(choice, str):
        return "word"
    given = choice.get("type") if isinstance(choice, dict) else getattr(choice, "type", None)
    return "allowed" if given == "allowed_tools" else "named"


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("word")]
    | Annotated[NamedToolChoice, Tag("named")]
    | Annotated[AllowedToolChoice, Tag("allowed")],
    Discriminator(_choice_kind),
]


class ThinkingOption(ApiModel):
    """Anthropic's switch, as litellm sends it. Its budget is a hint."""

    ignored = frozenset({"budget_tokens"})
    type: Literal["enabled", "disabled"]


class TemplateOptions(ApiModel):
    """vLLM's `chat_template_kwargs`: only the variable that a client may set."""

    enable_thinking: Flag | None = None


class ProcessorOptions(PixelOptions):
    """vLLM's `mm_processor_kwargs`: the fields that a client may set, for all parts without their own."""

    use_audio_in_video: Flag | None = None
    fps: Fps | None = None
    nframes: FrameCount | None = None
    total_pixels: TotalPixels | None = None

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.nframes is not None and self.fps is not None:
            raise ValueError("fps and nframes exclude each other")
        return self
