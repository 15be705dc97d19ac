"""One media part of a request, its name in messages, and its errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from antiphon_server.errors import BadRequest
from antiphon_server.media.policy import flag
from antiphon_server.media.source import MediaSource


@dataclass(frozen=True, slots=True)
class Part:
    """A part. `number`: its position among the parts of its kind in the request, from 1."""

    source: MediaSource
    number: int

    @property
    def name(self) -> str:
        return f"{self.source.kind} part {self.number}"

    def limit_error(self, got: str, limit: str, field: str, fix: str) -> BadRequest:
        """The part exceeds the limit that `field` of the policy sets."""
        message = f"{self.name} {got}; limit is {limit} ({flag(field)}). {fix}"
        return BadRequest(message, param=self.source.param, code="media_limit_exceeded")

    def invalid_error(self, what: str, fix: str, code: str = "media_invalid") -> BadRequest:
        """The part cannot be used, independent of limits."""
        return BadRequest(f"{self.name} {what}. {fix}", param=self.source.param, code=code)


def number_parts(sources: Sequence[MediaSource]) -> list[Part]:
    """The parts in the order of their sources."""
    counts: dict[str, int] = {}
    parts = []
    for source in sources:
        counts[source.kind] = counts.get(source.kind, 0) + 1
        parts.append(Part(source, counts[source.kind]))
    return parts
