"""The 44-byte header of a WAV file that holds 16-bit mono PCM, of a known length or not."""

from __future__ import annotations

import struct

SAMPLE_BYTES = 2
_UNKNOWN = 0xFFFFFFFF


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


def open_wav_header(rate_hz: int) -> bytes:
    """The header of a stream: readers take 0xFFFFFFFF in both lengths as "up to the end"."""
    return (
        struct.pack("<4sI8sI", b"RIFF", _UNKNOWN, b"WAVEfmt ", 16)
        + format_fields(rate_hz)
        + struct.pack("<4sI", b"data", _UNKNOWN)
    )
