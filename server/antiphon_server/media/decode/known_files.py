"""What is known of files that were decoded before, by a hash of their bytes.

The samples are not kept. The engine has the features, or asks for the file to be decoded again.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, replace

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ
from antiphon_server.media.source import MediaSource

# About 100 bytes each.
_MOST_FILES = 4_096
# The engine's cache also has the features of images and videos.
_SHARE_OF_KEPT = 0.5


class KnownFiles:
    """The number of samples of audio files. The file that was asked for longest ago is forgotten first.

    `kept_audio_s`: seconds of audio whose features the engine keeps. Without any, no file is known.
    """

    def __init__(self, kept_audio_s: float = 0.0) -> None:
        self._samples: OrderedDict[str, int] = OrderedDict()
        self._most_samples = round(kept_audio_s * _SHARE_OF_KEPT * INPUT_SAMPLE_RATE_HZ)
        self._sum = 0

    def find_samples(self, key: str) -> int | None:
        if key in self._samples:
            self._samples.move_to_end(key)
        return self._samples.get(key)

    def forget(self, key: str) -> None:
        self._sum -= self._samples.pop(key, 0)

    def remember(self, key: str, num_samples: int) -> None:
        self.forget(key)
        if num_samples > self._most_samples:
            return
        self._samples[key] = num_samples
        self._sum += num_samples
        while self._sum > self._most_samples or len(self._samples) > _MOST_FILES:
            self.forget(next(iter(self._samples)))


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
