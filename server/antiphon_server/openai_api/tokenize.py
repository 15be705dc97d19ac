"""The bodies of `POST /tokenize` and `POST /detokenize`, as vLLM has them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, Field, model_validator

from antiphon_server.openai_api import limits
from antiphon_server.openai_api.base import ApiModel, Flag, Name, Text
from antiphon_server.openai_api.messages import Messages
from antiphon_server.openai_api.options import TemplateOptions, Tool

TokenIdNumber = Annotated[int, Field(ge=0, le=limits.MAX_TOKEN_ID, strict=True)]


class TokenizeRequest(ApiModel):
    """`prompt`: text, whose control tokens count as such. `messages`: a conversation in the chat template."""

    neutral: ClassVar = {"add_generation_prompt": (True,), "continue_final_message": (False,)}
    ignored = frozenset({"add_special_tokens"})
    model: Name | None = None
    prompt: Text | None = None
    messages: Messages | None = None
    tools: tuple[Tool, ...] = Field(default=(), max_length=limits.MAX_TOOLS)
    chat_template_kwargs: TemplateOptions | None = None
    return_token_strs: Flag = False

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("send either prompt or messages")
        return self


class Tokens(BaseModel):
    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class DetokenizeRequest(ApiModel):
    model: Name | None = None
    tokens: Annotated[tuple[TokenIdNumber, ...], Field(max_length=limits.MAX_TOKENS)]


class Detokenized(BaseModel):
    prompt: str
