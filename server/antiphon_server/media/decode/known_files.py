"""What is known of files that were decoded before, by a hash of their bytes.

The samples are not kept. The engine has the features, or asks for the file to be decoded again.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

# About 100 bytes each.
_MOST_FILES = 4_096


class KnownFiles:
    """The number of samples of audio files. The file that was asked for longest ago is forgotten first."""

    def __init__(self) -> None:
        self._samples: OrderedDict[str, int] = OrderedDict()

    def find_samples(self, key: str) -> int | None:
        if key in self._samples:
            self._samples.move_to_end(key)
        return self._samples.get(key)

    def clear(self) -> None:
        self._samples.clear()

    def remember(self, key: str, num_samples: int) -> None:
        self._samples[key] = num_samples
        self._samples.move_to_end(key)
        if len(self._samples) > _MOST_FILES:
            self._samples.popitem(last=False)


def audio_key(data: bytes) -> str:
    """The key of the samples of a file's first audio track."""
    return hashlib.blake2b(data, digest_size=20, person=b"audio track 1").hexdigest()
