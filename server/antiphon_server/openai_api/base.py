"""Base model and bounded scalar types of all requests.

A null means "not given", as OpenAI's clients send it. Unknown fields are refused (see `validation_errors`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, StringConstraints, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from antiphon_server.openai_api.limits import (
    MAX_LOCATION_CHARS,
    MAX_NAME_CHARS,
    MAX_TEXT_CHARS,
    MAX_VIDEO_FRAMES,
)

Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_CHARS)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS)]
Location = Annotated[str, StringConstraints(min_length=1, max_length=MAX_LOCATION_CHARS)]
Fps = Annotated[float, Field(ge=0.001, le=60, strict=True)]
Pixels = Annotated[int, Field(ge=1, le=100_000_000, strict=True)]
TotalPixels = Annotated[int, Field(ge=1, le=10_000_000_000, strict=True)]
FrameCount = Annotated[int, Field(ge=1, le=MAX_VIDEO_FRAMES, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
# A null is a field that is not given, whatever its name.
_NULL = {"type": "null"}
_OUTER = ("title", "description", "default")


class ApiModel(BaseModel):
    """Base of every request type.

    `ignored`: names of fields that are accepted and change nothing. `neutral`: fields that are accepted at
    the values that ask for nothing, and refused at any other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    ignored: ClassVar[frozenset[str]] = frozenset()
    neutral: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    @model_validator(mode="before")
    @classmethod
    def _drop_absent(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {
            name: value
            for name, value in data.items()
            if value is not None and name not in cls.ignored and not cls._is_neutral(name, value)
        }

    @classmethod
    def _is_neutral(cls, name: str, value: Any) -> bool:
        """In JSON 1 and 1.0 are one number; true is none."""
        return any(
            value == one and isinstance(value, bool) == isinstance(one, bool)
            for one in cls.neutral.get(name, ())
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema of what is accepted, which is more than the fields: nulls, `ignored` and `neutral`."""
        reference = handler(core_schema)
        if handler.mode == "validation":
            _add_tolerance(handler.resolve_ref_schema(reference), cls.ignored, cls.neutral)
        return reference


def _add_tolerance(
    schema: JsonSchemaValue, ignored: frozenset[str], neutral: Mapping[str, tuple[Any, ...]]
) -> None:
    if schema.get("additionalProperties") == _NULL:
        return  # It is described already: pydantic asks for each use of a type.
    properties = schema.setdefault("properties", {})
    for name in set(properties) - set(schema.get("required", ())):
        properties[name] = _or_null(properties[name])
    for name in sorted(ignored):
        properties[name] = {"description": "Accepted, and changes nothing."}
    for name, values in neutral.items():
        if name in properties:
            properties[name]["anyOf"].append({"enum": list(values)})
        else:
            text = "Accepted only at a value that asks for nothing."
            properties[name] = {"enum": [*values, None], "description": text}
    schema["additionalProperties"] = _NULL


def _or_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    outer: dict[str, Any] = {
        name: schema[name] for name in ("title", "description", "default") if name in schema
    }
    inner = {name: value for name, value in schema.items() if name not in outer}
    choices = inner["anyOf"] if set(inner) == {"anyOf"} else [inner]
    choices = choices if _NULL in choices else [*choices, _NULL]
    return {**outer, "anyOf": choices}


class PixelOptions(ApiModel):
    """Bounds of an image, or of each frame of a video. They cannot raise the server's limits."""

    min_pixels: Pixels | None = None
    max_pixels: Pixels | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
            raise ValueError("min_pixels is greater than max_pixels")
        return self
