"""The checked form of a recording to write down: the prompt, the sampling, how it is cut, the format."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal

from antiphon_executor.interface.request import RepetitionDetection, TextSampling
from antiphon_server.chat.prompt.conversation import Conversation
from antiphon_server.chat.service import Service
from antiphon_server.errors import BadRequest
from antiphon_server.media.source import MediaSource
from antiphon_server.openai_api.audio.transcription import (
    ServerVad,
    TranscriptFormat,
    TranscriptionForm,
    TranslationForm,
)
from antiphon_server.transcription.languages import named_in, spoken_languages
from antiphon_server.transcription.pauses import Cutting

Task = Literal["transcribe", "translate"]

# An invented text repeats itself more often than a spoken one.
_REPETITION = RepetitionDetection(max_pattern_size=24, min_pattern_size=2, min_count=4)
_TIMED: frozenset[TranscriptFormat] = frozenset({"srt", "vtt", "verbose_json"})


@dataclass(frozen=True, slots=True)
class TranscriptSpec:
    """A checked request. `prompt`: token ids with the placeholder of one recording. `owner`: of the key.

    `cutting`: how the recording is cut, if it is longer than `cuts_beyond_s`. `text`: without a limit of
    tokens; `piece_tokens`: the one of the request, for each piece. `language`: of the answer, for those who
    ask for it.
    """

    id: str
    task: Task
    source: MediaSource
    prompt: tuple[int, ...]
    text: TextSampling
    piece_tokens: int | None
    format: TranscriptFormat
    stream: bool
    logprobs: bool
    cutting: Cutting
    cuts_beyond_s: float
    language: str
    owner: str


async def build_transcript_spec(
    form: TranslationForm, task: Task, source: MediaSource, service: Service, owner: str
) -> TranscriptSpec:
    """Raises BadRequest."""
    card = service.engine.card
    if "audio" not in card.input_modalities:
        raise BadRequest("This model does not hear.", param="model", code="unsupported_by_model")
    asked = form if isinstance(form, TranscriptionForm) else TranscriptionForm(**form.model_dump())
    instruction = card.listening.transcribe if task == "transcribe" else card.listening.translate
    if instruction is None:
        raise BadRequest("This model does not translate.", param="model", code="unsupported_by_model")
    named = asked.languages or ((asked.language,) if asked.language else ())
    languages = spoken_languages(named, card.listening)
    known = languages or card.listening.languages
    _check_format(asked)
    cutting, cuts_beyond_s = _read_cutting(asked, service.settings.chat.heard_piece_s)
    needs_logprobs = bool(asked.include) or asked.response_format == "verbose_json"
    return TranscriptSpec(
        id=f"transcript-{secrets.token_hex(16)}",
        task=task,
        source=source,
        prompt=await service.prompts.render(
            _conversation(asked, named_in(instruction, languages), source), owner, card.context_tokens
        ),
        text=TextSampling(
            temperature=asked.temperature,
            top_logprobs=0 if needs_logprobs else None,
            repetition_detection=_REPETITION,
        ),
        piece_tokens=asked.max_completion_tokens,
        format=asked.response_format,
        stream=asked.stream,
        logprobs=bool(asked.include),
        cutting=cutting,
        cuts_beyond_s=cuts_beyond_s,
        language="en" if task == "translate" else known[0] if len(known) == 1 else "unknown",
        owner=owner,
    )


def _check_format(asked: TranscriptionForm) -> None:
    if asked.stream and asked.response_format not in ("json", "text"):
        raise BadRequest("A stream has the format json or text.", param="response_format")
    if asked.include and (asked.response_format != "json" or asked.stream):
        raise BadRequest("logprobs are a part of the format json, not of a stream.", param="include")
    if asked.timestamp_granularities and asked.response_format != "verbose_json":
        raise BadRequest("Segments are a part of verbose_json.", param="timestamp_granularities")


def _read_cutting(asked: TranscriptionForm, longest_s: float) -> tuple[Cutting, float]:
    """How to cut a recording, and beyond which length. Formats with times need the cuts."""
    strategy = asked.chunking_strategy
    if isinstance(strategy, ServerVad):
        pause_ms, padding_ms = strategy.silence_duration_ms, strategy.prefix_padding_ms
        return Cutting(longest_s, pause_ms, padding_ms, strategy.threshold), 0.0
    is_cut = strategy == "auto" or asked.response_format in _TIMED
    return Cutting(longest_s), 0.0 if is_cut else longest_s


def _conversation(asked: TranscriptionForm, instruction: str, source: MediaSource) -> Conversation:
    """What a client expects to hear stands in the system message, where it is no part of the instruction."""
    hints = [asked.prompt] if asked.prompt else []
    if asked.keywords:
        hints.append(", ".join(asked.keywords))
    system = [{"role": "system", "content": "\n".join(hints)}] if hints else []
    content = [{"type": "audio"}, {"type": "text", "text": instruction}]
    return Conversation((*system, {"role": "user", "content": content}), (), (source,))
