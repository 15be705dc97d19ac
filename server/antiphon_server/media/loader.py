"""The media of one request: what the client sent in, decoded arrays out, in the order of the parts.

Fetches, checks and decodes all parts side by side; decoding happens in sandboxed children only.
Never hands a client a library's words, a path or an address.
"""

from __future__ import annotations

from collections.abc import Sequence

from antiphon_executor.protocol import Media
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.source import MediaSource


class MediaLoader:
    """One per server. `start` before the first `load`, `close` after the last."""

    def __init__(self, policy: MediaPolicy) -> None:
        self.policy = policy

    async def start(self) -> None:
        """Finds ffmpeg and starts the spare decoders. Raises FfmpegMissing."""

    async def close(self) -> None:
        """Kills every decoder."""

    async def load(self, sources: Sequence[MediaSource]) -> Media:
        """Decodes all parts; each kind keeps its order.

        Raises BadRequest (with the part's `param`) for media that is refused, Overloaded where no decoder
        is free in time. Cancelling stops the decoders of this request.
        """
        raise NotImplementedError
