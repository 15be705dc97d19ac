"""What an operator can set of JSON schemas that answers are held to.

In: nothing. Out: `GrammarPolicy`, a part of the settings.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class GrammarPolicy(BaseModel):
    """Limits of one schema's compilation, and of all that wait for theirs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    compile_s: float = Field(
        default=1.0, gt=0, le=10, description="Processor time to check and compile one JSON schema."
    )
    memory_bytes: int = Field(
        default=256 << 20, ge=16 << 20, description="Memory that compiling one JSON schema may take."
    )
    check_s: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Processor time to check one JSON schema. The event loop stands still meanwhile.",
    )
    step_s: float = Field(
        default=0.1, gt=0, le=1, description="Processor time that a schema may add to one step."
    )
    wait_s: float = Field(
        default=10.0, gt=0, le=60, description="A schema that is not compiled after this long is refused."
    )
    cached_verdicts: int = Field(default=1_024, ge=0, description="Schemas whose cost is remembered.")
