"""Sound: encoded bytes in, mono float32 at 16 kHz out.

Channels are mixed by ITU-R BS.775 weights, scaled so that nothing clips. Very short sound is padded with
silence to `FLOOR_SAMPLES`, so that the model's first analysis windows exist; no sound at all is refused.
"""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ, AudioClip
from antiphon_server.media.budget import Budget
from antiphon_server.media.decode.decoding import decode, format_of
from antiphon_server.media.decode.formats import Format
from antiphon_server.media.decode.plain_wav import read_plain_wav
from antiphon_server.media.decode.refusals import damaged, too_long
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import SoundJob
from antiphon_server.media.sandbox.pool import Sandbox

SAMPLE_BYTES = 4
FLOOR_SAMPLES = INPUT_SAMPLE_RATE_HZ // 10
# Decoded beyond the limit: a codec fills its last frame up, and a longer file must show that it is longer.
_BEYOND_SAMPLES = INPUT_SAMPLE_RATE_HZ
_FEWEST_PACKETS = 10_000
_PACKETS_PER_S = 1_000
# Containers count time in ticks, and an encoder's own resampling adds a few milliseconds: no excess.
_SPARE_S = 0.01


class AudioDecoder:
    """Decodes audio parts."""

    def __init__(self, policy: MediaPolicy, sandbox: Sandbox) -> None:
        self._policy = policy
        self._sandbox = sandbox

    async def decode(self, part: Part, data: bytes, budget: Budget) -> AudioClip:
        """Raises BadRequest for sound that is too long, empty, damaged or of an unknown format."""
        container, limit_s = format_of(data, part, "audio"), self._policy.audio_seconds
        samples = await asyncio.to_thread(read_plain_wav, data) if container.demuxer == "wav" else None
        length_s = len(samples) / INPUT_SAMPLE_RATE_HZ if samples is not None else 0.0
        if samples is None:
            samples, length_s = await self._samples(part, data, container, budget)
        if length_s > limit_s + _SPARE_S:
            raise too_long(part, length_s, limit_s)
        if not len(samples):
            raise part.bad("holds no sound", "Send a file with an audio track.", "media_empty")
        samples = samples[: round(limit_s * INPUT_SAMPLE_RATE_HZ)]
        budget.take_decoded(part, samples.nbytes)
        budget.take_audio(part, len(samples) / INPUT_SAMPLE_RATE_HZ)
        # Minutes of sound take tens of milliseconds to look through: too long for the event loop.
        return AudioClip(await asyncio.to_thread(bounded, samples))

    async def _samples(
        self, part: Part, data: bytes, container: Format, budget: Budget
    ) -> tuple[NDArray[np.float32], float]:
        """What was decoded, a little more than the limit or the request's budget at most; and the length in
        seconds that the file has.
        """
        most_samples = round(self._policy.audio_seconds * INPUT_SAMPLE_RATE_HZ) + _BEYOND_SAMPLES
        most_samples = min(most_samples, budget.decoded_bytes_left // SAMPLE_BYTES + 1)
        job = SoundJob(
            container.demuxer,
            container.decoders,
            most_samples,
            most_packets(self._policy.audio_seconds),
            most_samples * SAMPLE_BYTES,
        )
        report, output = await decode(self._sandbox, self._policy, part, job, [data])
        if len(output) != report.samples * SAMPLE_BYTES:
            raise damaged(part)
        return np.frombuffer(output, dtype="<f4"), report.seconds


def most_packets(seconds: float) -> int:
    """More than any codec makes of `seconds`: 500 frames a second, and sound in pieces of 2.5 ms."""
    return _FEWEST_PACKETS + round(seconds * _PACKETS_PER_S)


def bounded(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Odd values of float files brought into -1 to 1, and short sound to the floor."""
    peak = float(np.abs(samples).max(initial=0.0))
    if not peak <= 1.0:
        samples = np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
    if len(samples) < FLOOR_SAMPLES:
        samples = np.pad(samples, (0, FLOOR_SAMPLES - len(samples)))
    return samples
