"""The request body of `POST /v1/chat/completions`.

Unsupported fields that would change the answer are refused. OpenAI's bookkeeping fields are ignored.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, ValidationError
from pydantic_core import from_json

from antiphon_executor.interface.request import MAX_SPEECH_TOP_K
from antiphon_server.errors import BadRequest
from antiphon_server.openai_api import limits
from antiphon_server.openai_api.base import ApiModel, Flag, Name
from antiphon_server.openai_api.client_json import BAD_UNICODE, is_surrogate
from antiphon_server.openai_api.messages import Messages
from antiphon_server.openai_api.options import (
    AudioOptions,
    ProcessorOptions,
    RepetitionOptions,
    ResponseFormat,
    StreamOptions,
    TemplateOptions,
    Tool,
    ToolChoice,
)
from antiphon_server.openai_api.validation_errors import to_bad_request

Modality = Literal["text", "audio"]
Penalty = Annotated[float, Field(ge=-2, le=2, strict=True)]
Probability = Annotated[float, Field(ge=0, le=1, strict=True)]
TokenLimit = Annotated[int, Field(ge=1, le=limits.MAX_TOKENS, strict=True)]
Seed = Annotated[int, Field(ge=-limits.MAX_SEED, le=limits.MAX_SEED, strict=True)]
StopString = Annotated[str, Field(min_length=1, max_length=limits.MAX_STOP_CHARS)]
Bias = Annotated[float, Field(ge=-100, le=100, strict=True)]
TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,7}$")]
StopToken = Annotated[int, Field(ge=0, le=limits.MAX_TOKEN_ID, strict=True)]


class ChatRequest(ApiModel):
    """The supported fields of OpenAI's request, and some of vLLM's and DashScope's.

    Ours: `speech_optional` allows an answer in text alone if no speech stream is free when the request could
    start. The fields `talker_...` are the sampling parameters of speech, named as in `generate` of
    transformers; `talker_max_frames`, of 80 ms each, is its `talker_max_new_tokens`.
    `reasoning_effort` "none" means no thinking and any other value thinking, if the model's chat template can
    switch it; else it is ignored. `chat_template_kwargs.enable_thinking` takes precedence.
    """

    ignored = frozenset(
        {
            "user",
            "store",
            "metadata",
            "service_tier",
            "safety_identifier",
            "prompt_cache_key",
            "prompt_cache_retention",
            "prompt_cache_options",
            "moderation",
        }
    )

    model: Name | None = None
    messages: Messages
    modalities: tuple[Modality, ...] = Field(default=("text",), min_length=1, max_length=2)
    audio: AudioOptions | None = None
    stream: Flag = False
    stream_options: StreamOptions | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    n: Annotated[int, Field(ge=1, le=limits.MAX_CHOICES, strict=True)] = 1
    temperature: Annotated[float, Field(ge=0, le=2, strict=True)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1, strict=True)] = 1.0
    top_k: Annotated[int, Field(ge=-1, le=1_000_000, strict=True)] = 0
    min_p: Probability = 0.0
    presence_penalty: Penalty = 0.0
    frequency_penalty: Penalty = 0.0
    repetition_penalty: Annotated[float, Field(gt=0, le=2, strict=True)] = 1.0
    repetition_detection: RepetitionOptions | None = None
    seed: Seed | None = None
    stop: StopString | Annotated[tuple[StopString, ...], Field(max_length=limits.MAX_STOPS)] = ()
    stop_token_ids: Annotated[tuple[StopToken, ...], Field(max_length=limits.MAX_STOP_TOKENS)] = ()
    min_tokens: Annotated[int, Field(ge=0, le=limits.MAX_TOKENS, strict=True)] = 0
    ignore_eos: Flag = False
    logprobs: Flag = False
    top_logprobs: Annotated[int, Field(ge=0, le=limits.MAX_TOP_LOGPROBS, strict=True)] | None = None
    logit_bias: dict[TokenId, Bias] = Field(default={}, max_length=limits.MAX_LOGIT_BIAS)
    response_format: ResponseFormat | None = None
    tools: tuple[Tool, ...] = Field(default=(), max_length=limits.MAX_TOOLS)
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: Flag = True
    reasoning_effort: Name | None = None
    chat_template_kwargs: TemplateOptions | None = None
    use_audio_in_video: Flag | None = None
    mm_processor_kwargs: ProcessorOptions | None = None
    speech_optional: Flag = False
    talker_temperature: Annotated[float, Field(ge=0, le=2, strict=True)] | None = None
    talker_top_k: Annotated[int, Field(ge=1, le=MAX_SPEECH_TOP_K, strict=True)] | None = None
    talker_top_p: Annotated[float, Field(gt=0, le=1, strict=True)] | None = None
    talker_repetition_penalty: Annotated[float, Field(gt=0, le=2, strict=True)] | None = None
    talker_max_frames: TokenLimit | None = Field(
        None,
        validation_alias=AliasChoices("talker_max_frames", "talker_max_new_tokens", "talker_max_tokens"),
    )
    talker_seed: Seed | None = None

    @property
    def speaks(self) -> bool:
        return "audio" in self.modalities

    @property
    def media_options(self) -> ProcessorOptions:
        """The options of parts that do not set their own. The audio of videos is used by default."""
        options = self.mm_processor_kwargs or ProcessorOptions()
        asked = options.use_audio_in_video
        hears = self.use_audio_in_video if asked is None else asked
        return options.model_copy(update={"use_audio_in_video": hears is not False})


def parse_chat_request(body: bytes) -> ChatRequest:
    """Raises BadRequest, whose `param` is the path of the field in the client's JSON."""
    try:
        data = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _not_json(error) from None
    if not isinstance(data, dict):
        raise BadRequest("The request body must be a JSON object.", code="invalid_json")
    try:
        return ChatRequest.model_validate(data)
    except ValidationError as error:
        raise to_bad_request(error, data, ChatRequest) from None


def _not_json(error: ValueError) -> BadRequest:
    # The parser's message has the position, and does not quote the body.
    where = re.search(r" at line \d+ column \d+$", str(error))
    place = where.group() if where else ""
    if is_surrogate(error):
        message = f"The request body's JSON is not Unicode{place}: {BAD_UNICODE}."
        return BadRequest(message, code="invalid_unicode", hint="Send both halves, or U+FFFD in their place.")
    message = f"The request body is not valid JSON{place}."
    return BadRequest(message, code="invalid_json", hint="Send application/json in UTF-8.")
