"""Sound: encoded bytes in, mono float32 at 16 kHz out.

Channels are mixed by ITU-R BS.775 weights, scaled so that nothing clips. Very short sound is padded with
silence to `FLOOR_SAMPLES`, so that the model's first analysis windows exist; no sound at all is refused.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.protocol import LISTENING_RATE_HZ, AudioClip
from antiphon_server.media.budget import Budget
from antiphon_server.media.decoding import attempt, container_of, is_full, refuse
from antiphon_server.media.ffmpeg import packets_argv, sound_argv, synced_sound_argv
from antiphon_server.media.job import FfmpegJob
from antiphon_server.media.packets import PACKETS_BYTES, read_packets
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox import Sandbox
from antiphon_server.media.sniff import Container
from antiphon_server.media.wave import read_plain_wave

FLOOR_SAMPLES = LISTENING_RATE_HZ // 10
_SAMPLE_BYTES = 4
# ffmpeg's `-t` is in microseconds: it may come out a sample off.
_SLACK_SAMPLES = 4

Argv = tuple[str, ...]


class AudioDecoder:
    """Decodes audio parts, and the sound of videos."""

    def __init__(self, policy: MediaPolicy, sandbox: Sandbox) -> None:
        self._policy = policy
        self._sandbox = sandbox

    async def decode(self, part: Part, data: bytes, budget: Budget) -> AudioClip:
        """Raises BadRequest for sound that is too long, empty, damaged or of an unknown format."""
        container = container_of(data, part, "audio")
        samples = await asyncio.to_thread(read_plain_wave, data) if container.demuxer == "wav" else None
        if samples is None:
            # One sample more than the limit, so that the excess shows.
            most_samples = int(self._policy.audio_seconds * LISTENING_RATE_HZ) + 1
            samples = await self._samples(part, data, partial(sound_argv, container), most_samples, budget)
        if len(samples) > self._policy.audio_seconds * LISTENING_RATE_HZ:
            raise await self._too_long(part, data, container)
        if not len(samples):
            raise part.bad("holds no sound", "Send a file with an audio track.", "media_empty")
        return await _clip(part, samples, budget)

    async def decode_sound_of_video(
        self, part: Part, data: bytes, container: Container, start: Fraction, length: Fraction, budget: Budget
    ) -> AudioClip:
        """`length` seconds of the first audio track: sample n belongs to `start` + n / 16,000 s."""
        most_samples = math.ceil(length * LISTENING_RATE_HZ)
        make_argv = partial(synced_sound_argv, container, start)
        samples = await self._samples(part, data, make_argv, most_samples, budget)
        return await _clip(part, samples, budget)

    async def _samples(
        self, part: Part, data: bytes, make_argv: Callable[[float], Argv], most_samples: int, budget: Budget
    ) -> NDArray[np.float32]:
        """At most `most_samples`, or one more than the request's budget."""
        most_samples = min(most_samples, budget.decoded_bytes_left // _SAMPLE_BYTES + 1)
        argv = make_argv(most_samples / LISTENING_RATE_HZ)
        job = FfmpegJob(argv, (most_samples + _SLACK_SAMPLES) * _SAMPLE_BYTES)
        outcome = await attempt(self._sandbox, self._policy, part, job, [data])
        if not outcome.succeeded and not is_full(outcome, job):
            raise refuse(part)
        whole = min(len(outcome.output) // _SAMPLE_BYTES, most_samples)
        return cast(NDArray[np.float32], np.frombuffer(outcome.output, dtype="<f4", count=whole))

    async def _too_long(self, part: Part, data: bytes, container: Container) -> Exception:
        """The refusal, with the real length where the file's packets tell it."""
        limit = self._policy.audio_seconds
        job = FfmpegJob(packets_argv(container, ("a:0",)), PACKETS_BYTES)
        outcome = await attempt(self._sandbox, self._policy, part, job, [data])
        packets = await asyncio.to_thread(read_packets, bytes(outcome.output))
        length_s = float(packets.end("audio")) if outcome.succeeded else 0.0
        got = f"is {length_s:.0f} s" if length_s > limit else f"is longer than {limit:g} s"
        return part.over(got, f"{limit:g} s", "audio_seconds", "Split the file or raise the limit.")


async def _clip(part: Part, samples: NDArray[np.float32], budget: Budget) -> AudioClip:
    budget.take_decoded(part, samples.nbytes)
    budget.take_audio(part, len(samples) / LISTENING_RATE_HZ)
    # Minutes of sound take tens of milliseconds to look through: too long for the event loop.
    return AudioClip(await asyncio.to_thread(_bounded, samples))


def _bounded(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Odd values of float files brought into -1 to 1, and short sound to the floor."""
    peak = float(np.abs(samples).max(initial=0.0))
    if not peak <= 1.0:
        samples = np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
    if len(samples) < FLOOR_SAMPLES:
        samples = np.pad(samples, (0, FLOOR_SAMPLES - len(samples)))
    return samples
