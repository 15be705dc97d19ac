"""The fields that chat and text completions share: the model, streaming, and sampling of text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from antiphon_executor.interface.request import MAX_SPEECH_TOP_K
from antiphon_server.openai_api import limits
from antiphon_server.openai_api.base import ApiModel, Flag, Name
from antiphon_server.openai_api.options import (
    AnswerChoices,
    AudioOptions,
    JsonSchemaObject,
    RepetitionOptions,
    StreamOptions,
    StructuredOutputs,
)

Modality = Literal["text", "audio"]

Penalty = Annotated[float, Field(ge=-2, le=2, strict=True)]
Probability = Annotated[float, Field(ge=0, le=1, strict=True)]
TokenLimit = Annotated[int, Field(ge=1, le=limits.MAX_TOKENS, strict=True)]
Seed = Annotated[int, Field(ge=-limits.MAX_SEED, le=limits.MAX_SEED, strict=True)]
StopString = Annotated[str, Field(min_length=1, max_length=limits.MAX_STOP_CHARS)]
Bias = Annotated[float, Field(ge=-100, le=100, strict=True)]
TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,7}$")]
# A pattern of keys alone would allow all other keys too.
Biases = Annotated[
    dict[TokenId, Bias],
    Field(max_length=limits.MAX_LOGIT_BIAS, json_schema_extra={"additionalProperties": False}),
]
StopToken = Annotated[int, Field(ge=0, le=limits.MAX_TOKEN_ID, strict=True)]


@dataclass(frozen=True, slots=True)
class Guidance:
    """A JSON schema of a text, or the texts that it may be. `param`: the field that asks for it."""

    param: str
    schema: dict[str, Any] | None = None
    choices: tuple[str, ...] = ()


class AnswerFields(ApiModel):
    """Fields of OpenAI's requests and of vLLM's `SamplingParams`, for one answer."""

    model: Name | None = None
    stream: Flag = False
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
    include_stop_str_in_output: Flag = False
    min_tokens: Annotated[int, Field(ge=0, le=limits.MAX_TOKENS, strict=True)] = 0
    ignore_eos: Flag = False
    logit_bias: Biases = Field(default={})
    structured_outputs: StructuredOutputs | None = None
    guided_json: JsonSchemaObject | None = None
    guided_choice: AnswerChoices | None = None

    @model_validator(mode="after")
    def _one_structure(self) -> Self:
        asked = (self.structured_outputs, self.guided_json, self.guided_choice)
        if sum(one is not None for one in asked) > 1:
            raise ValueError("structured_outputs, guided_json and guided_choice exclude each other")
        return self

    @property
    def guidance(self) -> Guidance | None:
        """The structure of the text that a field of vLLM asks for."""
        asked = []
        if self.guided_json is not None:
            asked.append(Guidance("guided_json", schema=self.guided_json))
        if self.guided_choice is not None:
            asked.append(Guidance("guided_choice", choices=self.guided_choice))
        if self.structured_outputs is not None:
            one = self.structured_outputs
            name = "json" if one.choice is None else "choice"
            asked.append(Guidance(f"structured_outputs.{name}", one.json_, one.choice or ()))
        return asked[0] if asked else None


class SamplingFields(AnswerFields):
    """The same for several choices."""

    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=limits.MAX_CHOICES, strict=True)] = 1


class SpeechFields(ApiModel):
    """Whether and how an answer is spoken.

    `speech_optional` allows an answer in text alone if no speech stream is free when the request could start.
    The fields `talker_...` are the sampling parameters of speech, named as in `generate` of transformers;
    `talker_max_frames`, of 80 ms each, is its `talker_max_new_tokens`.
    """

    modalities: tuple[Modality, ...] = Field(default=("text",), min_length=1, max_length=2)
    audio: AudioOptions | None = None
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
