"""Videos whose frames lie in files, as the server stores them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from antiphon_executor.interface.media import Media, StoredFrames, VideoClip


def stored(clip: VideoClip, folder: Path) -> VideoClip:
    """The same video, its frames in a file that has the name of their hash."""
    frames = clip.frames
    assert isinstance(frames, np.ndarray)
    pixels = np.ascontiguousarray(frames)
    path = folder / hashlib.sha256(pixels.data).hexdigest()
    path.write_bytes(pixels.data)
    count, height, width, _ = pixels.shape
    return replace(clip, frames=StoredFrames(path, (count, height, width, 3)))


def with_stored_frames(media: Media, folder: Path) -> Media:
    return replace(media, videos=tuple(stored(clip, folder) for clip in media.videos))
