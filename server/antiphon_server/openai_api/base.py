"""Base model and bounded scalar types of all requests.

A null means "not given", as OpenAI's clients send it. Unknown fields are refused (see `validation_errors`).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from antiphon_server.openai_api.limits import MAX_LOCATION_CHARS, MAX_NAME_CHARS, MAX_TEXT_CHARS

Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_CHARS)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS)]
Location = Annotated[str, StringConstraints(min_length=1, max_length=MAX_LOCATION_CHARS)]
Flag = Annotated[bool, Field(strict=True)]


class ApiModel(BaseModel):
    """Base of every request type. `ignored`: names of fields that are accepted and change nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    ignored: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _drop_absent(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {k: v for k, v in data.items() if v is not None and k not in cls.ignored}
