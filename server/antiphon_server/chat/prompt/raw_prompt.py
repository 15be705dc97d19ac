"""A prompt without a chat template: text as it stands, or token ids."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon_executor.interface.media import Media
from antiphon_server.media.source import MediaSource


@dataclass(frozen=True, slots=True)
class RawPrompt:
    """`content`: text, or token ids. `param`: the request field, for errors. It has no media."""

    content: str | tuple[int, ...]
    param: str
    sources: tuple[MediaSource, ...] = ()
    media: Media | None = None
