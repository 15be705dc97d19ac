"""The 44-byte header of a WAV file that holds 16-bit mono PCM."""

from __future__ import annotations

import struct

SAMPLE_BYTES = 2


def format_fields(rate_hz: int) -> bytes:
    """The body of the `fmt ` chunk: PCM (format 1), one channel, `rate_hz`, 16 bits a sample."""
    return struct.pack("<HHIIHH", 1, 1, rate_hz, rate_hz * SAMPLE_BYTES, SAMPLE_BYTES, 16)


def wav_header(num_samples: int, rate_hz: int) -> bytes:
    """RIFF, `fmt ` and `data` headers for `num_samples` samples that follow."""
    size = num_samples * SAMPLE_BYTES
    return (
        struct.pack("<4sI8sI", b"RIFF", 36 + size, b"WAVEfmt ", 16)
        + format_fields(rate_hz)
        + struct.pack("<4sI", b"data", size)
    )
