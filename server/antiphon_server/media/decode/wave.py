"""The one file that needs no decoder: 16-bit mono PCM at 16 kHz in a plain WAV, as many speech clients send.

In: bytes. Out: samples, or None for every other file, which then goes to a decoder process. Reads a header of
fixed layout, bounds known before each step; nothing here allocates by a number that the file states.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ

_PLAIN_FORMAT = struct.pack("<HHIIHH", 1, 1, INPUT_SAMPLE_RATE_HZ, INPUT_SAMPLE_RATE_HZ * 2, 2, 16)
_MOST_CHUNKS = 16


def wave_header(num_samples: int) -> bytes:
    """The 44 bytes before `num_samples` of such sound."""
    size = 2 * num_samples
    return (
        struct.pack("<4sI8sI", b"RIFF", 36 + size, b"WAVEfmt ", 16)
        + _PLAIN_FORMAT
        + struct.pack("<4sI", b"data", size)
    )


def read_plain_wave(data: bytes) -> NDArray[np.float32] | None:
    """float32 [num_samples] within -1 to 1, bit-equal to ffmpeg's; None where the file is not plain."""
    start, plain = 12, False
    for _ in range(_MOST_CHUNKS):
        if len(data) < start + 8:
            return None
        name, size = struct.unpack_from("<4sI", data, start)
        start += 8
        if name == b"data":
            if not plain or size == 0:
                return None
            samples = min(size, len(data) - start) // 2
            pcm = np.frombuffer(data, dtype="<i2", count=samples, offset=start)
            return pcm.astype(np.float32) / np.float32(32_768)
        if name == b"fmt ":
            plain = size == 16 and data[start : start + 16] == _PLAIN_FORMAT
        start += size + (size & 1)
    return None
