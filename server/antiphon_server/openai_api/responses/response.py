"""The answer of `POST /v1/responses`: a `Response` and its output items."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from antiphon_server.openai_api.options import AudioFormat
from antiphon_server.openai_api.response import TokenLogprob, Word
from antiphon_server.openai_api.responses.request import (
    FunctionChoice,
    FunctionTool,
    ReasoningOptions,
    TextOptions,
)

ItemStatus = Literal["in_progress", "completed", "incomplete"]
ErrorCode = Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
ResponseStatus = Literal["in_progress", "completed", "incomplete", "failed"]


class WireModel(BaseModel):
    """Base of what is sent. All fields are written, as OpenAI does; a null says that there is nothing."""

    model_config = ConfigDict(frozen=True)

    def to_json(self) -> bytes:
        return self.model_dump_json(by_alias=True).encode()


class OutputText(WireModel):
    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[str] = []
    logprobs: list[TokenLogprob] = []


class OutputAudio(WireModel):
    """Ours: a spoken answer. `data`: base64 of the file; empty in a stream, whose deltas have the audio.

    `words`: if the request asks for their timestamps.
    """

    type: Literal["output_audio"] = "output_audio"
    id: str
    data: str
    transcript: str
    format: AudioFormat
    expires_at: int
    words: list[Word] | None = None


class ReasoningText(WireModel):
    type: Literal["reasoning_text"] = "reasoning_text"
    text: str


class OutputMessage(WireModel):
    id: str
    type: Literal["message"] = "message"
    status: ItemStatus
    role: Literal["assistant"] = "assistant"
    content: list[OutputText | OutputAudio]


class OutputReasoning(WireModel):
    """What the model thought before its answer, unencrypted."""

    id: str
    type: Literal["reasoning"] = "reasoning"
    status: ItemStatus
    summary: list[str] = []
    content: list[ReasoningText]
    encrypted_content: None = None


class OutputCall(WireModel):
    """`arguments`: JSON; the beginning of it if the answer was cut off."""

    id: str
    type: Literal["function_call"] = "function_call"
    status: ItemStatus
    call_id: str
    name: str
    arguments: str


OutputItem = Annotated[OutputMessage | OutputReasoning | OutputCall, Field(discriminator="type")]


class InputTokensDetails(WireModel):
    """Writing to the prefix cache costs nothing, so no tokens are counted for it."""

    cached_tokens: int
    cache_write_tokens: int = 0
    text_tokens: int
    audio_tokens: int
    image_tokens: int
    video_tokens: int


class OutputTokensDetails(WireModel):
    reasoning_tokens: int
    text_tokens: int
    audio_tokens: int


class ResponseUsage(WireModel):
    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ResponseError(WireModel):
    """`code`: one of OpenAI's. `type` and `param`: as in the error of another status than 200."""

    code: ErrorCode
    message: str
    type: str
    param: str | None


class IncompleteDetails(WireModel):
    reason: Literal["max_output_tokens"]


class Response(WireModel):
    """The answer, with the request's settings. Nothing is stored: it cannot be retrieved by its `id`."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: ResponseStatus
    background: Literal[False] = False
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: list[OutputItem]
    parallel_tool_calls: bool
    previous_response_id: None = None
    reasoning: ReasoningOptions
    store: Literal[False] = False
    temperature: float
    text: TextOptions
    tool_choice: FunctionChoice
    tools: list[FunctionTool]
    top_logprobs: int
    top_p: float
    truncation: Literal["disabled"] = "disabled"
    usage: ResponseUsage | None = None
