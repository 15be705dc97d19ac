"""What is known of files that were decoded before, by a hash of their bytes.

The samples are not kept. The engine has the features, or asks for the file to be decoded again.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ
from antiphon_server.media.source import MediaSource

# About 100 bytes each.
_MOST_FILES = 4_096
# Of all files: the engine's cache also has the features of images and videos.
_SHARE_OF_KEPT = 0.5
# Of the newest file alone, which may be as long as the context.
_LONGEST_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class KnownFile:
    """`clip_key`: under which the engine has its features."""

    clip_key: str
    num_samples: int


class KnownFiles:
    """Audio files by the hash of their bytes. The file that was asked for longest ago is forgotten first.

    `kept_audio_s`: seconds of audio whose features the engine keeps. Without any, no file is known.
    """

    def __init__(self, kept_audio_s: float = 0.0) -> None:
        self._files: OrderedDict[str, KnownFile] = OrderedDict()
        self._most_samples = round(kept_audio_s * _SHARE_OF_KEPT * INPUT_SAMPLE_RATE_HZ)
        self._longest_samples = round(kept_audio_s * _LONGEST_SHARE * INPUT_SAMPLE_RATE_HZ)
        self._sum = 0

    def find(self, key: str) -> KnownFile | None:
        if key in self._files:
            self._files.move_to_end(key)
        return self._files.get(key)

    def forget(self, key: str) -> None:
        found = self._files.pop(key, None)
        self._sum -= found.num_samples if found is not None else 0

    def remember(self, key: str, file: KnownFile) -> None:
        self.forget(key)
        if file.num_samples > self._longest_samples:
            return
        self._files[key] = file
        self._sum += file.num_samples
        while len(self._files) > 1 and (self._sum > self._most_samples or len(self._files) > _MOST_FILES):
            self.forget(next(iter(self._files)))


def audio_key(data: bytes, owner: str) -> str:
    """The key of the samples of a file's first audio track, known to requests of `owner` only."""
    return _digest(owner, b"audio track 1", data).hexdigest()


def video_key(data: Sequence[bytes], source: MediaSource, owner: str) -> str:
    """The key of the frames and the sound of a file, or of a list of images, as `source` wants them."""
    options = asdict(replace(source, locations=(), param="", stored=None))
    digest = _digest(owner, b"video", repr(sorted(options.items())).encode())
    for encoded in data:
        digest.update(hashlib.blake2b(encoded).digest())
    return digest.hexdigest()


def _digest(owner: str, person: bytes, data: bytes) -> hashlib.blake2b:
    salt = hashlib.blake2b(owner.encode()).digest()
    return hashlib.blake2b(data, digest_size=20, key=salt, person=person)
