"""Sound that a conversation keeps: 16-bit samples, those of a user with the key of their features."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ, AudioClip, KnownClip, StoredClip
from antiphon_executor.interface.request import TokensAhead

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class WrittenClip:
    """A clip that the engine's writer has made of a sound while it was spoken; `again` makes it once more.

    `ahead`: what was read of a prompt that ends with it.
    """

    clip: AudioClip | StoredClip
    window_s: int
    again: Callable[[], AudioClip | StoredClip]
    ahead: TokensAhead = field(default_factory=TokensAhead)

    @property
    def known(self) -> KnownClip:
        """Without the features."""
        return KnownClip(self.clip.key or "", self.clip.num_samples, self.again, self.window_s)


@dataclass(slots=True)
class HeardSound:
    """What a user said, at 16 kHz. `written`: for its next request to the engine, if there was no other."""

    samples: Samples
    key: str
    written: WrittenClip | None = None
    _known: KnownClip | None = None

    @property
    def seconds(self) -> float:
        return len(self.samples) / INPUT_SAMPLE_RATE_HZ

    def next_clip(self) -> AudioClip | StoredClip | KnownClip:
        """For one request to the engine, which may keep its features for the next."""
        if self._known is not None:
            return self._known
        written, self.written = self.written, None
        if written is None:
            self._known = KnownClip(self.key, len(self.samples), self.decoded)
            return self.decoded()
        self._known = written.known
        return written.clip

    def decoded(self) -> AudioClip:
        return AudioClip(decoded(self.samples), self.key)


def decoded(samples: Samples) -> NDArray[np.float32]:
    return samples.astype(np.float32) / np.float32(32_768)


def heard_sound(samples: Samples, owner: str) -> HeardSound:
    """`owner`: of the key; keys share no features."""
    salt = hashlib.blake2b(owner.encode()).digest()
    data = np.ascontiguousarray(samples).tobytes()
    key = hashlib.blake2b(data, digest_size=20, key=salt, person=b"realtime 16 kHz").hexdigest()
    return HeardSound(samples, key)
