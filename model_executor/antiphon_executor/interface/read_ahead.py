"""Reading a prompt ahead: the engine reads it up to a long recording while that is still being decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from antiphon_executor.interface.media import ClipWriter


@dataclass(frozen=True, slots=True)
class TokensAhead:
    """Tokens of a prompt that were `read` ahead, and those that the prefix cache had `found` before that."""

    read: int = 0
    found: int = 0

    def cached(self, tokens: int) -> int:
        """How many of the prompt's `tokens` that the prefix cache has now are not from reading ahead."""
        return tokens if tokens > self.read else min(tokens, self.found)


class ReadAhead(Protocol):
    """The prompt of one later request is read ahead, from the first long part of its recording on."""

    @property
    def writer(self) -> ClipWriter:
        """Takes the recording, the only medium of the prompt."""
        ...

    async def stop(self) -> TokensAhead:
        """Reads no further, aborts what the engine still does for it, and returns when that is done."""
        ...
