"""The sampling parameters of a chat request, checked against the model's card."""

from __future__ import annotations

from dataclasses import dataclass, replace

from antiphon_executor.interface.card import ModelCard
from antiphon_executor.interface.request import (
    AnswerSchema,
    RepetitionDetection,
    SpeechSampling,
    TextSampling,
)
from antiphon_server.chat.schema.answer_schema import read_answer_schema
from antiphon_server.chat.voices import choose_voice
from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.request import ChatRequest
from antiphon_server.openai_api.sampling_fields import SamplingFields

# A checkpoint may recommend these; a request may override them.
_RECOMMENDED = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


_SPEECH = ("temperature", "top_k", "top_p", "repetition_penalty", "max_frames")
"""The fields of `SpeechSampling` that a request sets by `talker_...`."""


@dataclass(frozen=True, slots=True)
class TextAsked:
    """What chat and text completions ask for in fields of their own."""

    max_tokens: int | None
    top_logprobs: int | None
    schema: AnswerSchema | None


def read_chat_sampling(request: ChatRequest, card: ModelCard) -> TextSampling:
    """The sampling of a chat answer's text."""
    max_tokens = request.max_completion_tokens or request.max_tokens
    asked = TextAsked(max_tokens, _read_logprobs(request), read_answer_schema(request))
    return read_text_sampling(request, card, asked)


def read_text_sampling(request: SamplingFields, card: ModelCard, asked: TextAsked) -> TextSampling:
    """Fields that the request does not set have the card's recommended values."""
    drawn = {
        name: getattr(request if name in request.model_fields_set else card.sampling, name)
        for name in _RECOMMENDED
    }
    if asked.max_tokens is not None and request.min_tokens > asked.max_tokens:
        raise BadRequest(
            f"min_tokens is {request.min_tokens}, more than the limit of {asked.max_tokens} tokens.",
            param="min_tokens",
        )
    return TextSampling(
        repetition_detection=_read_repetition(request, card),
        **drawn | {"top_k": max(drawn["top_k"], 0)},
        max_tokens=asked.max_tokens,
        min_tokens=request.min_tokens,
        ignore_eos=request.ignore_eos,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        seed=request.seed,
        stop=(request.stop,) if isinstance(request.stop, str) else request.stop,
        stop_token_ids=request.stop_token_ids,
        include_stop=request.include_stop_str_in_output,
        choices=request.n,
        top_logprobs=asked.top_logprobs,
        logit_bias=tuple((int(token), bias) for token, bias in request.logit_bias.items()),
        schema=asked.schema,
        answers=request.guidance.choices if request.guidance else (),
    )


def read_speech_sampling(request: ChatRequest, card: ModelCard) -> SpeechSampling | None:
    """None for a text answer. Raises BadRequest if the model cannot speak as requested."""
    if not request.speaks:
        if request.audio is not None:
            raise BadRequest(
                "`audio` is given, but `modalities` does not ask for audio.",
                param="modalities",
                hint='Send modalities: ["text", "audio"].',
            )
        return None
    if not card.speaks:
        reason = "speech is switched off" if card.has_talker else "its checkpoint has no Talker"
        raise BadRequest(
            f"This model answers in text only: {reason}.",
            param="modalities",
            hint='Send modalities: ["text"].',
        )
    if request.n > 1:
        raise BadRequest("A spoken answer has one choice: n must be 1.", param="n")
    if request.continue_final_message:
        raise BadRequest("A spoken answer cannot continue a message.", param="continue_final_message")
    if request.include_stop_str_in_output and request.stop:
        raise BadRequest(
            "The stop string of a spoken answer is not spoken, so it cannot be in its transcript.",
            param="include_stop_str_in_output",
        )
    if request.forces_call:
        return None
    voice = choose_voice(request.audio.voice if request.audio else None, card)
    normal = card.speech or SpeechSampling(voice)
    asked = {name: getattr(request, f"talker_{name}") for name in _SPEECH}
    return replace(
        normal,
        voice=voice,
        **{name: value for name, value in asked.items() if value is not None},
        seed=request.seed if request.talker_seed is None else request.talker_seed,
    )


def _read_repetition(request: SamplingFields, card: ModelCard) -> RepetitionDetection | None:
    """A request's setting replaces the card's as a whole. `max_pattern_size` 0 switches the detection off.

    The card's detection would end a text whose length `ignore_eos` has fixed.
    """
    asked = request.repetition_detection
    if asked is None:
        return None if request.ignore_eos else card.sampling.repetition_detection
    if not asked.max_pattern_size:
        return None
    return RepetitionDetection(asked.max_pattern_size, max(1, asked.min_pattern_size), asked.min_count)


def _read_logprobs(request: ChatRequest) -> int | None:
    if request.top_logprobs and not request.logprobs:
        raise BadRequest("top_logprobs needs logprobs: true.", param="top_logprobs")
    return (request.top_logprobs or 0) if request.logprobs else None
