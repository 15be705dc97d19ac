"""The response bodies of `POST /v1/chat/completions`: `Completion`, and `Chunk` in a stream.

Only fields that were set are written (`exclude_unset`): a null appears only if OpenAI writes one.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

FinishReason = Literal["stop", "length", "tool_calls"]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)

    def to_json(self) -> bytes:
        return self.model_dump_json(exclude_unset=True).encode()


class PromptTokensDetails(_Answer):
    cached_tokens: int
    text_tokens: int
    audio_tokens: int
    image_tokens: int
    video_tokens: int


class CompletionTokensDetails(_Answer):
    text_tokens: int
    audio_tokens: int
    reasoning_tokens: int


class Usage(_Answer):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class CalledFunction(_Answer):
    name: str
    arguments: str


class ToolCall(_Answer):
    """`index` is set in chunks only."""

    index: int = 0
    id: str
    type: Literal["function"]
    function: CalledFunction


class MoreArguments(_Answer):
    arguments: str


class ToolCallPiece(_Answer):
    """More of the arguments of the call with this `index`."""

    index: int
    function: MoreArguments


Modality = Literal["text", "audio"]


class TopLogprob(_Answer):
    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class Logprobs(_Answer):
    content: list[TokenLogprob]
    refusal: None = None


TimestampGranularity = Literal["word"]


class Word(_Answer):
    """A word of the transcript, with the white space after it, and when it is spoken.

    `start`, `end`: seconds of the answer's audio, estimated from the text and the pauses of the speech. They
    are never before the Talker has consumed the word, and never after the end of the audio. `index` counts
    the words from 0 and is set in chunks only: OpenAI's clients join lists by it.
    """

    index: int = 0
    word: str
    start: float
    end: float


class Audio(_Answer):
    """A whole spoken answer. `data`: base64 of the file. `expires_at`: Unix seconds.

    `words` and their granularity are set only if the request asks for them.
    """

    id: str
    data: str
    expires_at: int
    transcript: str
    timestamp_granularity: TimestampGranularity | None = None
    words: list[Word] | None = None


class AnswerMessage(_Answer):
    """`reasoning`: what the model thought before its answer. `reasoning_content` is an alias of it."""

    role: Literal["assistant"]
    content: str | None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: None = None
    audio: Audio | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(_Answer):
    index: int
    message: AnswerMessage
    logprobs: Logprobs | None = None
    finish_reason: FinishReason


class Completion(_Answer):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class DeltaAudio(_Answer):
    """A piece of speech. In OpenAI's dialect one of these fields is set.

    With word timestamps, the first piece has the granularity, and `words` follow their audio.
    """

    id: str | None = None
    timestamp_granularity: TimestampGranularity | None = None
    words: list[Word] | None = None
    data: str | None = None
    transcript: str | None = None
    expires_at: int | None = None


class Delta(_Answer):
    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: None = None
    audio: DeltaAudio | None = None
    tool_calls: list[ToolCall | ToolCallPiece] | None = None


class ChunkChoice(_Answer):
    index: int
    delta: Delta
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None


class Progress(_Answer):
    """How far the media of a request are decoded, and a long prompt is read. Media are encoded as they are
    read; one long recording is read while it is decoded.

    `eta_seconds`: until all is read, by the rate so far; null until it is known. `prefilled_seconds`: of
    audio and video, by the share of the tokens. `prompt_tokens`: an estimate until all media are decoded.
    """

    prefilled_tokens: int
    prompt_tokens: int
    prefilled_seconds: float
    decoded_seconds: float
    eta_seconds: float | None


class Chunk(_Answer):
    """`modality` is set in the union dialect only, `progress` and `timing` if the request asks for them.

    `timing`: when the request reached each stage, in milliseconds since its first byte, by stage.
    """

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    modality: Literal["text", "audio"] | None = None
    progress: Progress | None = None
    timing: dict[str, float] | None = None
