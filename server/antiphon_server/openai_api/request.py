"""The request body of `POST /v1/chat/completions`.

Unsupported fields that would change the answer are refused. OpenAI's bookkeeping fields are ignored.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AliasChoices, Field, model_validator

from antiphon_server.openai_api import limits
from antiphon_server.openai_api.base import Flag, Name
from antiphon_server.openai_api.body import parse_body
from antiphon_server.openai_api.messages import Messages
from antiphon_server.openai_api.options import (
    AllowedToolChoice,
    NamedToolChoice,
    ProcessorOptions,
    ResponseFormat,
    TemplateOptions,
    ThinkingOption,
    Tool,
    ToolChoice,
)
from antiphon_server.openai_api.sampling_fields import SamplingFields, SpeechFields, TokenLimit
from antiphon_server.openai_api.tolerance import HINTS, NEUTRAL_CHAT


class ChatRequest(SamplingFields, SpeechFields):
    """The supported fields of OpenAI's request, and some of vLLM's and DashScope's. `SpeechFields` has ours.

    `reasoning_effort` "none" means no thinking and any other value thinking, if the model's chat template can
    switch it; else it is ignored. `chat_template_kwargs.enable_thinking` takes precedence; DashScope's
    `enable_thinking` and Anthropic's `thinking` mean the same. `continue_final_message`, vLLM's: the answer
    continues the last message, which is the assistant's.
    """

    ignored = HINTS
    neutral = NEUTRAL_CHAT

    messages: Messages
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

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if self.add_generation_prompt is self.continue_final_message:
            raise ValueError("add_generation_prompt must be the opposite of continue_final_message")
        return self

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
