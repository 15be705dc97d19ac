"""One media item as the request describes it, before it is fetched or decoded."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol

MediaKind = Literal["audio", "image", "video"]


class StoredBytes(Protocol):
    """The bytes of a file that the request may read."""

    @property
    def size_bytes(self) -> int: ...

    def open(self) -> BinaryIO:
        """The file, for its reader to close. It stays readable if it is deleted meanwhile."""


@dataclass(frozen=True, slots=True)
class HeldBytes:
    """A file that came with the request, as `StoredBytes`."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


@dataclass(frozen=True, slots=True)
class MediaSource:
    """One media part of a message.

    `locations`: a bare base64 string, a data URL or an http(s) URL; several only for a list of video frames;
    none for a `stored` file.
    `param`: the position of the part in the request, for errors (`messages[0].content[1]`). `use_audio`:
    decode the audio of a video too. `fps`, `min_pixels`, `max_pixels`, `total_pixels` and `max_frames` of the
    client can only lower the server's limits. `frames`: exactly this number of frames of a video, instead of
    `fps`. The format is not kept: `decode.sniff` detects it from the bytes.
    """

    kind: MediaKind
    locations: tuple[str, ...]
    param: str
    is_frame_list: bool = False
    use_audio: bool = True
    fps: float | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    total_pixels: int | None = None
    max_frames: int | None = None
    frames: int | None = None
    stored: StoredBytes | None = None
