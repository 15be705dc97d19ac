"""The checked form of a chat request: sampling, conversation, and the format of the answer.

Building it does no work at the engine and loads no media.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from antiphon_executor.interface.card import ModelCard
from antiphon_executor.interface.request import SpeechSampling, TextSampling, TokensAhead
from antiphon_server.chat.prompt.conversation import Conversation, read_conversation
from antiphon_server.chat.prompt.raw_prompt import RawPrompt
from antiphon_server.chat.prompt.template import CALL_OPENING
from antiphon_server.chat.sampling import read_chat_sampling, read_speech_sampling
from antiphon_server.chat.service import Service
from antiphon_server.chat.thinking import Reasoning, read_thinking, reasoning_of
from antiphon_server.config.settings import Dialect
from antiphon_server.errors import BadRequest
from antiphon_server.media.source import MediaKind, StoredBytes
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.openai_api.options import AudioFormat, AudioOptions, TranscriptTiming
from antiphon_server.openai_api.request import ChatRequest
from antiphon_server.openai_api.response import TimestampGranularity

ToolUse = Literal["none", "one", "many", "forced"]


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """Fields that every chunk of an answer repeats. `created` and `expires_at`: Unix seconds."""

    id: str
    model: str
    created: int
    audio_id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """The format of an answer. `audio_format`: of the audio bytes.

    `timestamps`: their granularity; None if the request asks for none.
    """

    stream: bool
    dialect: Dialect
    speaks: bool
    audio_format: AudioFormat
    choices: int
    tool_use: ToolUse
    include_usage: bool
    continuous_usage: bool
    timestamps: TimestampGranularity | None = None
    reasoning: Reasoning = "none"
    transcript_timing: TranscriptTiming = "as_generated"
    include_progress: bool = False
    include_timing: bool = False


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """A checked request. `cache_salt`: a hash of the client's key.

    `speech_optional`: answer in text alone if no speech stream is free. `unspoken_from`: the token that opens
    a tool call, which is not spoken. `ahead`: what was read of the prompt before.
    """

    head: AnswerHead
    form: AnswerForm
    conversation: Conversation | RawPrompt
    text: TextSampling
    speech: SpeechSampling | None
    cache_salt: str | None
    speech_optional: bool = False
    unspoken_from: int | None = None
    ahead: TokensAhead = field(default_factory=TokensAhead)

    def without_speech(self) -> RequestSpec:
        """The same request, answered in text alone."""
        return replace(self, form=replace(self.form, speaks=False), speech=None)

    def without_conversation(self) -> RequestSpec:
        """The same request without what the client sent: its prompt and media are made by then."""
        return replace(self, conversation=Conversation((), (), ()))


def build_request_spec(
    request: ChatRequest,
    service: Service,
    model: str,
    cache_salt: str | None = None,
    dialect: Dialect | None = None,
) -> RequestSpec:
    """Checks all that can be checked without the media. `model`: the served name.

    `dialect`: the client's; None: the server's.

    Raises BadRequest or NotFound.
    """
    limits = service.settings.server.limits
    client_json = ClientJson(limits.json_depth, limits.json_nodes)
    find_file = partial(_find_file, service, cache_salt or "")
    conversation = read_conversation(request, service.transcripts.find, client_json, find_file)
    return make_spec(request, conversation, service, model, cache_salt, dialect)


def make_spec(
    request: ChatRequest,
    conversation: Conversation,
    service: Service,
    model: str,
    cache_salt: str | None,
    dialect: Dialect | None = None,
) -> RequestSpec:
    """As `build_request_spec`, with the request's messages read already."""
    card, template = service.engine.card, service.prompts.template
    thinking = read_thinking(request, template)
    conversation = replace(conversation, thinking=thinking)
    _check_conversation(conversation, card, service)
    return RequestSpec(
        head=_make_head(model, service),
        form=_read_form(
            request, dialect or service.settings.server.dialect, reasoning_of(request, template, thinking)
        ),
        conversation=conversation,
        text=read_chat_sampling(request, card),
        speech=read_speech_sampling(request, card),
        cache_salt=cache_salt,
        speech_optional=request.speech_optional,
        unspoken_from=_read_unspoken(request, service),
    )


def _read_unspoken(request: ChatRequest, service: Service) -> int | None:
    """The token that opens a tool call in a spoken answer. Raises BadRequest if the model has none."""
    if not (request.speaks and request.callable_tools):
        return None
    audio = request.audio or AudioOptions()
    if audio.timestamp_granularities or audio.transcript_timing == "as_spoken":
        raise BadRequest("Words are not timed in an answer that may call tools.", param="audio")
    opening = service.prompts.control_id(CALL_OPENING)
    if opening is None:
        raise BadRequest(
            "The model has no token that opens a tool call, so its calls would be spoken.",
            param="modalities",
            hint='Request the tool call with modalities: ["text"] first.',
        )
    return opening


def _find_file(service: Service, key_hash: str, file_id: str, param: str) -> tuple[StoredBytes, MediaKind]:
    stored = service.files.find(key_hash, file_id, param)
    return stored, stored.record.kind


def check_length(length: int, shown: str, param: str, service: Service) -> None:
    """Raises BadRequest if all texts of a request, `length` in characters, are longer than the limit."""
    limit = service.settings.chat.text_chars
    if length > limit:
        raise BadRequest(
            f"The {shown}; the limit is {limit}.",
            param=param,
            code="string_above_max_length",
        )


def _check_conversation(conversation: Conversation, card: ModelCard, service: Service) -> None:
    length = conversation.text_chars
    check_length(length, f"messages have {length} characters", "messages", service)
    if conversation.tools and not service.prompts.template.takes_tools:
        raise BadRequest("The model's chat template does not support tools.", param="tools")
    for source in conversation.sources:
        if source.kind not in card.input_modalities:
            raise BadRequest(f"This model does not support {source.kind} input.", param=source.param)


def _make_head(model: str, service: Service) -> AnswerHead:
    created = int(time.time())  # noqa: TID251 - `created` of the response
    return AnswerHead(
        id=f"chatcmpl-{secrets.token_hex(16)}",
        model=model,
        created=created,
        audio_id=f"audio_{secrets.token_hex(16)}",
        expires_at=created + int(service.settings.chat.transcript_s),
    )


def _read_form(request: ChatRequest, dialect: Dialect, reasoning: Reasoning) -> AnswerForm:
    audio = request.audio or AudioOptions()
    audio_format: AudioFormat = audio.format or ("pcm16" if request.stream else "wav")
    if request.stream and audio_format == "wav":
        # A WAV file cannot be streamed. In DashScope's dialect the format means bare PCM samples.
        audio_format = "pcm16"
        dialect = "dashscope" if dialect == "openai" else dialect
    options = request.stream_options
    if options is not None and not request.stream:
        raise BadRequest("stream_options needs stream: true.", param="stream_options")
    return AnswerForm(
        stream=request.stream,
        dialect=dialect,
        speaks=request.speaks and not request.forces_call,
        audio_format=audio_format,
        choices=request.n,
        tool_use=_read_tool_use(request),
        include_usage=options is not None and (options.include_usage or options.continuous_usage_stats),
        continuous_usage=options is not None and options.continuous_usage_stats,
        include_progress=options is not None and options.include_progress,
        include_timing=options is not None and options.include_timing,
        timestamps="word" if audio.timestamp_granularities else None,
        reasoning=reasoning,
        transcript_timing=audio.transcript_timing,
    )


def _read_tool_use(request: ChatRequest) -> ToolUse:
    if request.forces_call:
        return "forced"
    if not request.callable_tools:
        return "none"
    return "many" if request.parallel_tool_calls else "one"
