"""The checked form of a text completion: one `RequestSpec` for each of its prompts."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from antiphon_server.chat.prompt.raw_prompt import RawPrompt
from antiphon_server.chat.request_spec import AnswerForm, AnswerHead, RequestSpec, check_length
from antiphon_server.chat.sampling import TextAsked, read_text_sampling
from antiphon_server.chat.schema.answer_schema import read_guidance_schema
from antiphon_server.chat.service import Service
from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.completions import CompletionRequest


@dataclass(frozen=True, slots=True)
class TextSpec:
    """`prompts`: the requests to the engine. Choice `c` of prompt `p` is choice `p * n + c` of the answer.

    `echo`: the choices begin with their prompts.
    """

    id: str
    model: str
    created: int
    stream: bool
    include_usage: bool
    echo: bool
    prompts: tuple[RequestSpec, ...]


def build_text_spec(
    request: CompletionRequest, service: Service, model: str, cache_salt: str | None
) -> TextSpec:
    """Checks all that can be checked without the tokens of the prompts. Raises BadRequest."""
    options = request.stream_options
    if options is not None and not request.stream:
        raise BadRequest("stream_options needs stream: true.", param="stream_options")
    if request.echo and request.logprobs is not None:
        raise BadRequest(
            "The log probabilities of a prompt are not computed: echo and logprobs exclude each other.",
            param="echo",
        )
    _check_length(request, service)
    answer_id, created = f"cmpl-{secrets.token_hex(16)}", int(time.time())  # noqa: TID251 - `created`
    asked = TextAsked(request.max_tokens, request.logprobs, read_guidance_schema(request))
    sampling = read_text_sampling(request, service.engine.card, asked)
    several = len(request.prompts) > 1
    return TextSpec(
        id=answer_id,
        model=model,
        created=created,
        stream=request.stream,
        include_usage=options is not None and (options.include_usage or options.continuous_usage_stats),
        echo=request.echo,
        prompts=tuple(
            RequestSpec(
                head=AnswerHead(f"{answer_id}-{number}", model, created, "", created),
                form=AnswerForm(
                    stream=request.stream,
                    dialect="openai",
                    speaks=False,
                    audio_format="pcm16",
                    choices=request.n,
                    tool_use="none",
                    include_usage=False,
                    continuous_usage=False,
                ),
                conversation=RawPrompt(prompt, f"prompt[{number}]" if several else "prompt"),
                text=sampling,
                speech=None,
                cache_salt=cache_salt,
            )
            for number, prompt in enumerate(request.prompts)
        ),
    )


def _check_length(request: CompletionRequest, service: Service) -> None:
    length = sum(len(prompt) for prompt in request.prompts)
    check_length(length, f"prompts have {length} characters or tokens", "prompt", service)
