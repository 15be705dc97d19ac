"""Reader of the one kind of file that needs no decoder process: a plain WAV of 16-bit mono PCM at 16 kHz.

Many speech clients send it. Any other file returns None and goes to a decoder process. The parser checks
bounds before each read and never allocates memory by a size that the file states.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ
from antiphon_server.media.wav_header import format_fields

_PLAIN_FORMAT = format_fields(INPUT_SAMPLE_RATE_HZ)
_MAX_CHUNKS = 16


def read_plain_wav(data: bytes) -> NDArray[np.float32] | None:
    """float32 [num_samples] within -1 to 1, bit-identical to ffmpeg's; None if the file is not plain."""
    start, is_plain = 12, False
    for _ in range(_MAX_CHUNKS):
        if len(data) < start + 8:
            return None
        name, size = struct.unpack_from("<4sI", data, start)
        start += 8
        if name == b"data":
            if not is_plain or size == 0:
                return None
            samples = min(size, len(data) - start) // 2
            pcm = np.frombuffer(data, dtype="<i2", count=samples, offset=start)
            return pcm.astype(np.float32) / np.float32(32_768)
        if name == b"fmt ":
            is_plain = size == 16 and data[start : start + 16] == _PLAIN_FORMAT
        start += size + (size & 1)
    return None
