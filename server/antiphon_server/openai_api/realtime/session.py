"""The session of a realtime connection, as a client sets it and as the server shows it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag

from antiphon_server.openai_api import limits
from antiphon_server.openai_api.base import ApiModel, Flag, Name, Text
from antiphon_server.openai_api.options import VoiceId
from antiphon_server.openai_api.responses.request import FunctionTool, NamedFunction

MAX_OUTPUT_TOKENS = 4_096

OutputModality = Literal["text", "audio"]


class PcmInput(ApiModel):
    """16-bit samples. OpenAI's rate is 24 kHz; 16 kHz is ours."""

    type: Literal["audio/pcm"]
    rate: Literal[24000, 16000] = 24_000


class PcmOutput(ApiModel):
    type: Literal["audio/pcm"]
    rate: Literal[24000] = 24_000


class MuLaw(ApiModel):
    """G.711, 8 kHz."""

    type: Literal["audio/pcmu"]


class ALaw(ApiModel):
    """G.711, 8 kHz."""

    type: Literal["audio/pcma"]


InputFormat = Annotated[PcmInput | MuLaw | ALaw, Field(discriminator="type")]
OutputFormat = Annotated[PcmOutput | MuLaw | ALaw, Field(discriminator="type")]


class ServerVad(ApiModel):
    """A turn ends after `silence_duration_ms` without speech."""

    type: Literal["server_vad"]
    threshold: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.5
    prefix_padding_ms: Annotated[int, Field(ge=0, le=5_000, strict=True)] = 300
    silence_duration_ms: Annotated[int, Field(ge=32, le=10_000, strict=True)] = 500
    create_response: Flag = True
    interrupt_response: Flag = True


class SemanticVad(ApiModel):
    """A turn ends after a pause whose length follows from `eagerness`."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: Flag = True
    interrupt_response: Flag = True


TurnDetection = Annotated[ServerVad | SemanticVad, Field(discriminator="type")]


class InputTranscription(ApiModel):
    """Any `model` is accepted; the served one transcribes."""

    ignored = frozenset({"delay", "keywords", "languages"})
    model: Name | None = None
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$")] | None = None
    prompt: Annotated[Text, Field(max_length=limits.MAX_SPOKEN_CHARS)] | None = None


class AudioInput(ApiModel):
    ignored = frozenset({"noise_reduction"})
    format: InputFormat = PcmInput(type="audio/pcm")
    transcription: InputTranscription | None = None
    turn_detection: TurnDetection | None = None


class AudioOutput(ApiModel):
    """`voice`: a voice of the model or one of OpenAI's names."""

    neutral: ClassVar = {"speed": (1,)}
    format: OutputFormat = PcmOutput(type="audio/pcm")
    voice: Name | VoiceId | None = None


class SessionAudio(ApiModel):
    input: AudioInput = AudioInput()
    output: AudioOutput = AudioOutput()


class RetentionRatio(ApiModel):
    """On a full context the newest `retention_ratio` of it is kept."""

    ignored = frozenset({"token_limits"})
    type: Literal["retention_ratio"]
    retention_ratio: Annotated[float, Field(gt=0, le=1, strict=True)]


def _kind(value: Any) -> str:
    return "word" if isinstance(value, str) else "object"


Truncation = Annotated[
    Annotated[Literal["auto", "disabled"], Tag("word")] | Annotated[RetentionRatio, Tag("object")],
    Discriminator(_kind),
]
ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("word")] | Annotated[NamedFunction, Tag("object")],
    Discriminator(_kind),
]


def _check_tool(tool: Any) -> Any:
    if isinstance(tool, dict) and tool.get("type") != "function":
        raise ValueError("only functions are supported, which the client runs; the server hosts no tools")
    return tool


Tools = Annotated[
    tuple[Annotated[FunctionTool, BeforeValidator(_check_tool)], ...], Field(max_length=limits.MAX_TOOLS)
]
TokenLimit = Literal["inf"] | Annotated[int, Field(ge=1, le=MAX_OUTPUT_TOKENS, strict=True)]
Modalities = Annotated[tuple[OutputModality, ...], Field(min_length=1, max_length=1)]
# Accepted and not used; the session shows them as null.
_UNUSED = frozenset({"tracing", "prompt", "include", "reasoning", "parallel_tool_calls"})


class Session(ApiModel):
    """What a client can set. `model`: it may be repeated, and never changes."""

    ignored = _UNUSED | {"id", "object", "expires_at"}
    type: Literal["realtime"]
    model: Name | None = None
    instructions: Text = ""
    output_modalities: Modalities = ("audio",)
    tools: Tools = ()
    tool_choice: ToolChoice = "auto"
    max_output_tokens: TokenLimit = "inf"
    truncation: Truncation = "auto"
    audio: SessionAudio = SessionAudio()

    @property
    def speaks(self) -> bool:
        return self.output_modalities == ("audio",)


def fields_of(session: Session) -> dict[str, Any]:
    """The session's fields as JSON, each of them present."""
    fields = session.model_dump(mode="json")
    fields["tools"] = [tool.model_dump(mode="json", exclude_unset=True) for tool in session.tools]
    audio = fields["audio"]
    audio["input"]["noise_reduction"] = None
    audio["output"]["speed"] = 1.0
    if isinstance(session.audio.input.turn_detection, ServerVad):
        audio["input"]["turn_detection"]["idle_timeout_ms"] = None
    return {**fields, "tracing": None, "prompt": None, "include": None}
