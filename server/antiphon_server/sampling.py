"""The numbers of a chat request → how the engines draw text and speech.

In: a `ChatRequest` and the model's card. Out: `TextSampling` and `SpeechSampling`, or `BadRequest`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from antiphon_executor.protocol import ModelCard, RepetitionDetection, SpeechSampling, TextSampling
from antiphon_server.errors import BadRequest
from antiphon_server.protocol.chat import ChatRequest
from antiphon_server.protocol.options import JsonObjectFormat, JsonSchemaFormat, NamedToolChoice
from antiphon_server.voices import choose_voice

# What a checkpoint's makers may recommend, and a request may set otherwise.
_RECOMMENDED = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


_SPEECH = ("temperature", "top_k", "top_p", "repetition_penalty", "max_frames")
"""Of a request's `talker_...`: fields of `SpeechSampling`."""


def read_text_sampling(request: ChatRequest, card: ModelCard) -> TextSampling:
    """What the request leaves open is as the card recommends."""
    drawn = {
        name: getattr(request if name in request.model_fields_set else card.sampling, name)
        for name in _RECOMMENDED
    }
    return TextSampling(
        repetition_detection=_read_repetition(request, card),
        **drawn | {"top_k": max(drawn["top_k"], 0)},
        max_tokens=request.max_completion_tokens or request.max_tokens,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        seed=request.seed,
        stop=(request.stop,) if isinstance(request.stop, str) else request.stop,
        choices=request.n,
        top_logprobs=_read_logprobs(request),
        logit_bias=tuple((int(token), bias) for token, bias in request.logit_bias.items()),
        json_schema=_read_schema(request),
        schema_param="response_format" if request.tool_choice in (None, "auto", "none") else "tools",
    )


def read_speech_sampling(request: ChatRequest, card: ModelCard) -> SpeechSampling | None:
    """None for an answer in text alone. Raises BadRequest where the model cannot speak as asked."""
    if not request.speaks:
        if request.audio is not None:
            raise BadRequest(
                "`audio` is given, but `modalities` does not ask for audio.",
                param="modalities",
                hint='Send modalities: ["text", "audio"].',
            )
        return None
    if not card.speaks:
        raise BadRequest("This model answers in text only.", param="modalities")
    if request.n > 1:
        raise BadRequest("A spoken answer has one choice: n must be 1.", param="n")
    if request.tools and request.tool_choice != "none":
        raise BadRequest(
            "Tools and a spoken answer cannot be asked for together.",
            param="modalities",
            hint='Ask for the tool call with modalities: ["text"] first.',
        )
    voice = choose_voice(request.audio.voice if request.audio else None, card)
    normal = card.speech or SpeechSampling(voice)
    asked = {name: getattr(request, f"talker_{name}") for name in _SPEECH}
    return replace(
        normal,
        voice=voice,
        **{name: value for name, value in asked.items() if value is not None},
        seed=request.seed if request.talker_seed is None else request.talker_seed,
    )


def _read_repetition(request: ChatRequest, card: ModelCard) -> RepetitionDetection | None:
    """What a request says replaces the card's as a whole; a greatest size of 0: nothing is cut."""
    asked = request.repetition_detection
    if asked is None:
        return card.sampling.repetition_detection
    if not asked.max_pattern_size:
        return None
    return RepetitionDetection(asked.max_pattern_size, max(1, asked.min_pattern_size), asked.min_count)


def _read_logprobs(request: ChatRequest) -> int | None:
    if request.top_logprobs is not None and not request.logprobs:
        raise BadRequest("top_logprobs needs logprobs: true.", param="top_logprobs")
    return (request.top_logprobs or 0) if request.logprobs else None


def _read_schema(request: ChatRequest) -> str | None:
    forced = _forced_call_schema(request)
    asked = request.response_format
    if forced is not None:
        if isinstance(asked, JsonObjectFormat | JsonSchemaFormat):
            raise BadRequest("A forced tool call has no other format.", param="response_format")
        return _compilable(forced, "tools")
    if isinstance(asked, JsonSchemaFormat):
        return _compilable(asked.json_schema.schema_, "response_format")
    return '{"type": "object"}' if isinstance(asked, JsonObjectFormat) else None


def _compilable(schema: dict[str, Any], param: str) -> str:
    """The schema as JSON. Regular expressions are refused: a few hundred take the compiler a minute."""
    if _has_pattern(schema):
        raise BadRequest(
            "`pattern` and `patternProperties` in a JSON schema are not supported.",
            param=param,
            hint="Describe the pattern in the prompt, or list the values in an enum.",
        )
    return json.dumps(schema)


def _has_pattern(schema: Any) -> bool:
    if isinstance(schema, list):
        return any(_has_pattern(item) for item in schema)
    if not isinstance(schema, dict):
        return False
    if not schema.keys().isdisjoint({"pattern", "patternProperties"}):
        return True
    # The keys of `properties` are names, and may be these.
    named = {"properties", "$defs", "definitions"}
    return any(
        any(map(_has_pattern, value.values()))
        if key in named and isinstance(value, dict)
        else _has_pattern(value)
        for key, value in schema.items()
        if key not in ("const", "enum", "default", "examples")
    )


def _forced_call_schema(request: ChatRequest) -> dict[str, Any] | None:
    """The schema of `{"name", "arguments"}` where the client insists on a call; None where it does not."""
    choice = request.tool_choice
    if choice is None or choice in ("auto", "none"):
        return None
    functions = [tool.function for tool in request.tools]
    if isinstance(choice, NamedToolChoice):
        functions = [function for function in functions if function.name == choice.function.name]
    if not functions:
        raise BadRequest("tool_choice asks for a tool that is not among the tools.", param="tool_choice")
    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"const": function.name},
                "arguments": function.parameters or {"type": "object"},
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for function in functions
    ]
    return calls[0] if len(calls) == 1 else {"anyOf": calls}
