"""What a request says of one media item, before anything is fetched or decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MediaKind = Literal["audio", "image", "video"]


@dataclass(frozen=True, slots=True)
class MediaSource:
    """One media part of a message.

    `locations`: a bare base64 string, a data URL or an http(s) URL; more than one only for a video given as a
    list of frames. What the client calls the format is not kept: `sniff.py` looks at the bytes.
    `param`: where the part stands in the request, for error messages (`messages[0].content[1]`).
    The client's `fps`, `min_pixels`, `max_pixels` and `max_frames` can only lower the server's limits.
    """

    kind: MediaKind
    locations: tuple[str, ...]
    param: str
    is_frame_list: bool = False
    use_audio: bool = True
    fps: float | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    max_frames: int | None = None
