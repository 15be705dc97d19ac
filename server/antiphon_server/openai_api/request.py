"""The request body of `POST /v1/chat/completions`.

Unsupported fields that would change the answer are refused. OpenAI's bookkeeping fields are ignored.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from antiphon_executor.interface.request import MAX_SPEECH_TOP_K
from antiphon_server.openai_api import limits
from antiphon_server.openai_api.base import Flag, Name
from antiphon_server.openai_api.body import parse_body
from antiphon_server.openai_api.messages import Messages
from antiphon_server.openai_api.options import (
    AllowedToolChoice,
    AudioOptions,
    NamedToolChoice,
    ProcessorOptions,
    ResponseFormat,
    TemplateOptions,
    ThinkingOption,
    Tool,
    ToolChoice,
)
from antiphon_server.openai_api.sampling_fields import SamplingFields, Seed, TokenLimit
from antiphon_server.openai_api.tolerance import HINTS, NEUTRAL_CHAT

Modality = Literal["text", "audio"]


class ChatRequest(SamplingFields):
    """The supported fields of OpenAI's request, and some of vLLM's and DashScope's.

    Ours: `speech_optional` allows an answer in text alone if no speech stream is free when the request could
    start. The fields `talker_...` are the sampling parameters of speech, named as in `generate` of
    transformers; `talker_max_frames`, of 80 ms each, is its `talker_max_new_tokens`.
    `reasoning_effort` "none" means no thinking and any other value thinking, if the model's chat template can
    switch it; else it is ignored. `chat_template_kwargs.enable_thinking` takes precedence; DashScope's
    `enable_thinking` and Anthropic's `thinking` mean the same. `continue_final_message`, vLLM's: the answer
    continues the last message, which is the assistant's.
    """

    ignored = HINTS
    neutral = NEUTRAL_CHAT

    messages: Messages
    modalities: tuple[Modality, ...] = Field(default=("text",), min_length=1, max_length=2)
    audio: AudioOptions | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    logprobs: Flag = False
    top_logprobs: Annotated[int, Field(ge=0, le=limits.MAX_TOP_LOGPROBS, strict=True)] | None = None
    response_format: ResponseFormat | None = None
    tools: tuple[Tool, ...] = Field(default=(), max_length=limits.MAX_TOOLS)
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: Flag = True
    reasoning_effort: Name | None = None
    chat_template_kwargs: TemplateOptions | None = None
    continue_final_message: Flag = False
    add_generation_prompt: Flag | None = None
    enable_thinking: Flag | None = Field(None, validation_alias=AliasChoices("enable_thinking", "think"))
    thinking: ThinkingOption | None = None
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

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.add_generation_prompt is self.continue_final_message:
            raise ValueError("add_generation_prompt must be the opposite of continue_final_message")
        return self

    @property
    def speaks(self) -> bool:
        return "audio" in self.modalities

    @property
    def forces_call(self) -> bool:
        """Whether the answer must be a tool call."""
        if isinstance(self.tool_choice, AllowedToolChoice):
            return self.tool_choice.allowed_tools.mode == "required"
        return self.tool_choice not in (None, "none", "auto")

    @property
    def callable_tools(self) -> tuple[tuple[int, Tool], ...]:
        """The tools that the answer may call, with their indices among `tools`."""
        choice = self.tool_choice
        tools = tuple(enumerate(self.tools))
        if choice == "none":
            return ()
        if isinstance(choice, NamedToolChoice):
            allowed = {choice.function.name}
        elif isinstance(choice, AllowedToolChoice):
            allowed = {one.function.name for one in choice.allowed_tools.tools}
        else:
            return tools
        return tuple((number, tool) for number, tool in tools if tool.function.name in allowed)

    @property
    def media_options(self) -> ProcessorOptions:
        """The options of parts that do not set their own. The audio of videos is used by default."""
        options = self.mm_processor_kwargs or ProcessorOptions()
        asked = options.use_audio_in_video
        hears = self.use_audio_in_video if asked is None else asked
        return options.model_copy(update={"use_audio_in_video": hears is not False})


def parse_chat_request(body: bytes) -> ChatRequest:
    """Raises BadRequest, whose `param` is the path of the field in the client's JSON."""
    return parse_body(body, ChatRequest)
