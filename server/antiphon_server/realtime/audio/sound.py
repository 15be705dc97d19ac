"""Sound that a conversation keeps: 16-bit samples, those of a user with the key of their features."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ, AudioClip, KnownClip

Samples = NDArray[np.int16]


@dataclass(slots=True)
class HeardSound:
    """What a user said, at 16 kHz. `is_known`: the engine has had it, and may still have its features."""

    samples: Samples
    key: str
    is_known: bool = False

    @property
    def seconds(self) -> float:
        return len(self.samples) / INPUT_SAMPLE_RATE_HZ

    def clip(self) -> AudioClip | KnownClip:
        """For one request to the engine."""
        if self.is_known:
            return KnownClip(self.key, len(self.samples), self.decoded)
        return self.decoded()

    def decoded(self) -> AudioClip:
        return AudioClip(self.samples.astype(np.float32) / np.float32(32_768), self.key)


def heard_sound(samples: Samples, owner: str) -> HeardSound:
    """`owner`: of the key; keys share no features."""
    salt = hashlib.blake2b(owner.encode()).digest()
    data = np.ascontiguousarray(samples).tobytes()
    key = hashlib.blake2b(data, digest_size=20, key=salt, person=b"realtime 16 kHz").hexdigest()
    return HeardSound(samples, key)
