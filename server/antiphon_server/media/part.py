"""One media part of a request with its name, and the one way to refuse it.

In: a source and its number. Out: `BadRequest` that says what was wrong, the limit, what came and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from antiphon_server.errors import BadRequest
from antiphon_server.media.policy import flag
from antiphon_server.media.source import MediaSource


@dataclass(frozen=True, slots=True)
class Part:
    """`number` counts parts of the same kind, from 1, in the order of the request."""

    source: MediaSource
    number: int

    @property
    def name(self) -> str:
        return f"{self.source.kind} part {self.number}"

    def over(self, got: str, limit: str, field: str, fix: str) -> BadRequest:
        """The part breaks the limit that `field` of the policy sets."""
        message = f"{self.name} {got}; limit is {limit} ({flag(field)}). {fix}"
        return BadRequest(message, param=self.source.param, code="media_limit_exceeded")

    def bad(self, what: str, fix: str, code: str = "media_invalid") -> BadRequest:
        """The part cannot be used, whatever the limits."""
        return BadRequest(f"{self.name} {what}. {fix}", param=self.source.param, code=code)


def number_parts(sources: Sequence[MediaSource]) -> list[Part]:
    """Every source with its number among those of its kind."""
    counts: dict[str, int] = {}
    parts = []
    for source in sources:
        counts[source.kind] = counts.get(source.kind, 0) + 1
        parts.append(Part(source, counts[source.kind]))
    return parts
