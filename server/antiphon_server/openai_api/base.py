"""What all request types share: the base model and the bounded scalar types.

A null stands for "not given", as OpenAI's clients send it. Unknown fields are refused (see `problems.py`).
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
    """Base of every request type. `harmless` names fields that are taken and change nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    harmless: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _drop_absent(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        return {k: v for k, v in data.items() if v is not None and k not in cls.harmless}
