"""The request and the response bodies of `POST /v1/completions`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from antiphon_server.openai_api import limits
from antiphon_server.openai_api.base import Flag, Text
from antiphon_server.openai_api.response import Usage
from antiphon_server.openai_api.sampling_fields import SamplingFields, TokenLimit
from antiphon_server.openai_api.tolerance import HINTS, NEUTRAL_SAMPLING

PromptToken = Annotated[int, Field(ge=0, le=limits.MAX_TOKEN_ID, strict=True)]
PromptTokens = Annotated[tuple[PromptToken, ...], Field(min_length=1, max_length=limits.MAX_TOKENS)]


def _prompt_kind(prompt: object) -> str:
    """A list is read as what its first item is."""
    if isinstance(prompt, str):
        return "text"
    first = next(iter(prompt), None) if isinstance(prompt, list | tuple) else None
    match first:
        case str():
            return "texts"
        case list() | tuple():
            return "lists"
        case _:
            return "tokens"


_Several = Field(min_length=1, max_length=limits.MAX_PROMPTS)
Prompt = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[tuple[Text, ...], _Several, Tag("texts")]
    | Annotated[PromptTokens, Tag("tokens")]
    | Annotated[tuple[PromptTokens, ...], _Several, Tag("lists")],
    Discriminator(_prompt_kind),
]


class CompletionRequest(SamplingFields):
    """`prompt`: a text as it stands, without a chat template; its control tokens count as such. Or token ids.

    Several prompts are answered in one response, `n` choices for each. `logprobs`: how many likely tokens to
    return with each token. `echo` puts the prompt before its text.
    """

    ignored = HINTS
    neutral: ClassVar = {
        **{name: values for name, values in NEUTRAL_SAMPLING.items() if not name.startswith("max_")},
        "suffix": ("",),
        "add_special_tokens": (True, False),
    }

    prompt: Prompt
    max_tokens: TokenLimit = 16
    logprobs: Annotated[int, Field(ge=0, le=limits.MAX_TOP_LOGPROBS, strict=True)] | None = None
    echo: Flag = False

    @property
    def prompts(self) -> tuple[str | tuple[int, ...], ...]:
        """Each prompt."""
        prompt = self.prompt
        if isinstance(prompt, str):
            return (prompt,)
        if isinstance(prompt[0], int):
            return (prompt,)  # type: ignore[return-value]  # the union's branch, which mypy cannot follow
        return prompt  # type: ignore[return-value]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class TextLogprobs(_Answer):
    """`text_offset`: where each token begins, in characters of the choice's text."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(_Answer):
    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: Literal["stop", "length"] | None


class TextCompletion(_Answer):
    """A whole answer, or one chunk of a streamed one. `usage` is absent in chunks unless asked for."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | None = None

    def to_json(self) -> bytes:
        return self.model_dump_json(exclude={"usage"} if self.usage is None else None).encode()
