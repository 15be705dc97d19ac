"""The request body of `POST /v1/responses`, which is stateless: what refers to stored state is refused."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag

from antiphon_server.openai_api import limits
from antiphon_server.openai_api.base import ApiModel, Flag, Name, Text
from antiphon_server.openai_api.options import (
    FunctionName,
    JsonObjectFormat,
    JsonSchemaObject,
    TextFormat,
    ToolParameters,
)
from antiphon_server.openai_api.responses.input_items import ResponseInput
from antiphon_server.openai_api.sampling_fields import AnswerFields, SpeechFields, TokenLimit
from antiphon_server.openai_api.tolerance import HINTS, NEUTRAL_SAMPLING


class FunctionTool(ApiModel):
    """A function that the client runs. `strict` is enforced only where the answer has to be a call."""

    ignored = frozenset({"output_schema"})
    neutral: ClassVar = {"async": (False,), "defer_loading": (False,), "allowed_callers": (["direct"],)}
    type: Literal["function"]
    name: Name
    description: Annotated[Text, Field(max_length=limits.MAX_TOOLS_JSON_CHARS)] | None = None
    parameters: ToolParameters | None = None
    strict: Flag | None = None


def _check_tool(tool: Any) -> Any:
    if isinstance(tool, dict) and tool.get("type") != "function":
        raise ValueError("only functions are supported, which the client runs; the server hosts no tools")
    return tool


class NamedFunction(FunctionName):
    type: Literal["function"]


class AllowedFunctions(ApiModel):
    """Only some of the request's tools may be called."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: tuple[NamedFunction, ...] = Field(min_length=1, max_length=limits.MAX_TOOLS)


def _choice_kind(choice: Any) -> str:
    if isinstance(choice, str):
        return "word"
    given = choice.get("type") if isinstance(choice, dict) else getattr(choice, "type", None)
    return "allowed" if given == "allowed_tools" else "named"


FunctionChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("word")]
    | Annotated[NamedFunction, Tag("named")]
    | Annotated[AllowedFunctions, Tag("allowed")],
    Discriminator(_choice_kind),
]


class FlatSchemaFormat(ApiModel):
    """As chat's `json_schema`, without an object around it."""

    type: Literal["json_schema"]
    name: Name
    description: Text | None = None
    schema_: JsonSchemaObject = Field(alias="schema")
    strict: Flag | None = None


AnswerFormat = Annotated[TextFormat | JsonObjectFormat | FlatSchemaFormat, Field(discriminator="type")]


class TextOptions(ApiModel):
    ignored = frozenset({"verbosity"})
    format: AnswerFormat = TextFormat(type="text")


class ReasoningOptions(ApiModel):
    """`effort`: as chat's `reasoning_effort`. Reasoning is returned as it is, so no summary is made."""

    ignored = frozenset({"summary", "generate_summary", "context", "mode"})
    effort: Name | None = None


class EventOptions(ApiModel):
    """The usage is part of the last event in any case."""

    ignored = frozenset({"include_obfuscation", "include_usage"})


LOGPROBS = "message.output_text.logprobs"
# All but the log probabilities ask for parts of items that an answer here never has.
Includable = Literal[
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "message.input_image.image_url",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
]
MetadataKey = Annotated[str, StringConstraints(max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]


class ResponsesRequest(AnswerFields, SpeechFields):
    """OpenAI's request without stored state and hosted tools, and with the sampling fields of chat.

    Ours: `modalities: ["text", "audio"]` and `audio` as in chat, for a spoken answer; `input_audio` parts.
    """

    ignored = HINTS - {"store", "metadata"} | {"max_tool_calls"}
    neutral: ClassVar = {
        **{name: values for name, values in NEUTRAL_SAMPLING.items() if not name.startswith("max_")},
        "n": (1,),
        "store": (False,),
        "background": (False,),
        "truncation": ("disabled",),
        "context_management": ([],),
    }

    input: ResponseInput
    instructions: Text | None = None
    stream_options: EventOptions | None = None
    max_output_tokens: TokenLimit | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=limits.MAX_TOP_LOGPROBS, strict=True)] | None = None
    text: TextOptions = TextOptions()
    tools: tuple[Annotated[FunctionTool, BeforeValidator(_check_tool)], ...] = Field(
        default=(), max_length=limits.MAX_TOOLS
    )
    tool_choice: FunctionChoice = "auto"
    parallel_tool_calls: Flag = True
    reasoning: ReasoningOptions = ReasoningOptions()
    include: tuple[Includable, ...] = Field(default=(), max_length=16)
    metadata: dict[MetadataKey, MetadataValue] = Field(default={}, max_length=16)
