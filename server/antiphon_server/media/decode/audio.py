"""Decoder of audio parts: encoded bytes to mono float32 at 16 kHz.

Channels are mixed with ITU-R BS.775 weights, scaled so that nothing clips. Very short audio is padded with
silence to `MIN_SAMPLES`, so that the model's first analysis windows exist; empty audio is refused.
"""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ, AudioClip
from antiphon_server.media.budget import Budget
from antiphon_server.media.decode.decoding import detect_format, run_decode_job
from antiphon_server.media.decode.formats import Format
from antiphon_server.media.decode.limit_check import check_audio, check_audio_tokens
from antiphon_server.media.decode.plain_wav import read_plain_wav
from antiphon_server.media.decode.refusals import damaged_error, too_long_error
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import AudioJob, LengthJob
from antiphon_server.media.sandbox.pool import Sandbox

SAMPLE_BYTES = 4
MIN_SAMPLES = INPUT_SAMPLE_RATE_HZ // 10
# Decoded beyond the limit: codecs pad the last frame, and a longer file must be recognised as longer.
_EXTRA_SAMPLES = INPUT_SAMPLE_RATE_HZ
_MIN_PACKET_LIMIT = 10_000
_PACKETS_PER_S = 1_000
# Containers round times to ticks, and resampling by an encoder adds a few milliseconds.
_TOLERANCE_S = 0.01
# A shorter file than this for each second that is allowed is not measured before it is decoded.
_LEAST_BYTES_PER_S = {"wav": 4_000, "aiff": 4_000, "au": 4_000, "w64": 4_000, "mp3": 1_000, "aac": 1_000}
_LEAST_OTHER_BYTES_PER_S = 250
# Files state their length with the padding of their codecs.
_STATED_MARGIN_S = 1.0


class AudioDecoder:
    """Decodes audio parts in a decoder process; a plain WAV at 16 kHz is read in the server."""

    def __init__(self, policy: MediaPolicy, sandbox: Sandbox) -> None:
        self._policy = policy
        self._sandbox = sandbox

    async def decode(self, part: Part, data: bytes, budget: Budget) -> AudioClip:
        """Raises BadRequest for audio that is too long, empty, damaged or in an unknown format."""
        container, limit_s = detect_format(data, part, "audio"), self._policy.audio_seconds
        samples = await asyncio.to_thread(read_plain_wav, data) if container.demuxer == "wav" else None
        length_s = len(samples) / INPUT_SAMPLE_RATE_HZ if samples is not None else 0.0
        if samples is None:
            await self._check_stated_length(part, data, container, budget)
            samples, length_s = await self._decode_samples(part, data, container, budget)
        if length_s > limit_s + _TOLERANCE_S:
            raise too_long_error(part, length_s, limit_s)
        if not len(samples):
            raise part.invalid_error("contains no audio", "Send a file with an audio track.", "media_empty")
        samples = samples[: round(limit_s * INPUT_SAMPLE_RATE_HZ)]
        check_audio_tokens(part, len(samples) / INPUT_SAMPLE_RATE_HZ, budget)
        budget.charge_decoded(part, samples.nbytes)
        budget.charge_audio(part, len(samples) / INPUT_SAMPLE_RATE_HZ)
        # Scanning minutes of audio takes tens of milliseconds, which is too long for the event loop.
        return AudioClip(await asyncio.to_thread(clip_and_pad, samples))

    async def _check_stated_length(self, part: Part, data: bytes, container: Format, budget: Budget) -> None:
        """Refuses a file that is far longer than its limits, without decoding it."""
        most_s = min(self._policy.audio_seconds, budget.audio_seconds_left)
        most_s = min(most_s, budget.decoded_bytes_left / (SAMPLE_BYTES * INPUT_SAMPLE_RATE_HZ))
        if budget.room is not None:
            most_s = min(most_s, budget.room.audio_seconds_for(budget.room.left_for(part.source.param)))
        if len(data) < most_s * _LEAST_BYTES_PER_S.get(container.demuxer, _LEAST_OTHER_BYTES_PER_S):
            return
        margin_s = most_s + _STATED_MARGIN_S
        job = LengthJob(container.demuxer, container.decoders, margin_s, max_packets(most_s))
        report, _ = await run_decode_job(self._sandbox, self._policy, part, job, [data])
        if report.seconds > margin_s:
            check_audio(part, report.seconds, self._policy, budget)

    async def _decode_samples(
        self, part: Part, data: bytes, container: Format, budget: Budget
    ) -> tuple[NDArray[np.float32], float]:
        """The samples, up to slightly more than the limit or the request's budget, and the file's length in
        seconds.
        """
        max_samples = round(self._policy.audio_seconds * INPUT_SAMPLE_RATE_HZ) + _EXTRA_SAMPLES
        max_samples = min(max_samples, budget.decoded_bytes_left // SAMPLE_BYTES + 1)
        job = AudioJob(
            container.demuxer,
            container.decoders,
            max_samples,
            max_packets(self._policy.audio_seconds),
            max_samples * SAMPLE_BYTES,
        )
        report, output = await run_decode_job(self._sandbox, self._policy, part, job, [data])
        if len(output) != report.samples * SAMPLE_BYTES:
            raise damaged_error(part)
        return np.frombuffer(output, dtype="<f4"), report.seconds


def max_packets(seconds: float) -> int:
    """More packets than any codec needs: 500 video frames per second and audio packets of 2.5 ms."""
    return _MIN_PACKET_LIMIT + round(seconds * _PACKETS_PER_S)


def clip_and_pad(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clips values of float files to -1 to 1, replaces NaN by 0, and pads short audio to `MIN_SAMPLES`."""
    peak = float(np.abs(samples).max(initial=0.0))
    if not peak <= 1.0:
        samples = np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
    if len(samples) < MIN_SAMPLES:
        samples = np.pad(samples, (0, MIN_SAMPLES - len(samples)))
    return samples
