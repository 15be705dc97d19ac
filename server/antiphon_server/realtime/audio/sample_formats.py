"""Audio formats of the wire: 16-bit PCM, and G.711 (mu-law, A-law) by tables."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.events import OUTPUT_SAMPLE_RATE_HZ
from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ
from antiphon_server.openai_api.realtime.session import ALaw, MuLaw, PcmInput, PcmOutput
from antiphon_server.realtime.audio.resampler import Resampler

Law = Literal["mu", "a"]
G711_HZ = 8_000


def _mu_law() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    exponent, mantissa = (code >> 4) & 7, code & 15
    size = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return np.where(code & 0x80, -size, size).astype(np.int16)


def _a_law() -> NDArray[np.int16]:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, code & 15
    size = np.where(
        exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0)
    )
    return np.where(code & 0x80, size, -size).astype(np.int16)


def _nearest(samples: NDArray[np.int16]) -> NDArray[np.uint8]:
    """For each 16-bit sample, counted from -32768, the code whose sample is nearest."""
    order = np.argsort(samples, kind="stable")
    sorted_samples = samples[order].astype(np.int32)
    middles = (sorted_samples[1:] + sorted_samples[:-1]) / 2
    return order[np.searchsorted(middles, np.arange(-32_768, 32_768))].astype(np.uint8)


_DECODED: dict[Law, NDArray[np.int16]] = {"mu": _mu_law(), "a": _a_law()}
_ENCODED: dict[Law, NDArray[np.uint8]] = {law: _nearest(samples) for law, samples in _DECODED.items()}


def decode_g711(data: bytes, law: Law) -> NDArray[np.int16]:
    return _DECODED[law][np.frombuffer(data, np.uint8)]


def encode_g711(samples: NDArray[np.int16], law: Law) -> bytes:
    return _ENCODED[law][samples.astype(np.int32) + 32_768].tobytes()


def _law_of(asked: MuLaw | ALaw) -> Law:
    return "mu" if isinstance(asked, MuLaw) else "a"


class InputDecoder:
    """A client's audio as 16 kHz samples. It keeps half a sample and the resampler's state between pieces."""

    def __init__(self, asked: PcmInput | MuLaw | ALaw) -> None:
        self._law = None if isinstance(asked, PcmInput) else _law_of(asked)
        rate_hz = asked.rate if isinstance(asked, PcmInput) else G711_HZ
        self._resampler = Resampler(rate_hz, INPUT_SAMPLE_RATE_HZ)
        self._rest = b""

    def decode(self, data: bytes) -> NDArray[np.int16]:
        if self._law is not None:
            return self._resampler.resample(decode_g711(data, self._law))
        data = self._rest + data
        whole = len(data) - len(data) % 2
        self._rest = data[whole:]
        return self._resampler.resample(np.frombuffer(data[:whole], "<i2"))


class OutputEncoder:
    """Generated speech (24 kHz PCM) in the client's format, in pieces of a multiple of 6 bytes."""

    def __init__(self, asked: PcmOutput | MuLaw | ALaw) -> None:
        self._law = None if isinstance(asked, PcmOutput) else _law_of(asked)
        self._resampler = Resampler(OUTPUT_SAMPLE_RATE_HZ, G711_HZ)
        self._rest = b""

    def encode(self, pcm: bytes) -> bytes:
        data = self._rest + self._convert(pcm)
        whole = len(data) - len(data) % 6
        self._rest = data[whole:]
        return data[:whole]

    def finish(self) -> bytes:
        """The rest."""
        rest, self._rest = self._rest, b""
        return rest

    def _convert(self, pcm: bytes) -> bytes:
        if self._law is None:
            return pcm
        return encode_g711(self._resampler.resample(np.frombuffer(pcm, "<i2")), self._law)
