"""Decoder of audio parts: encoded bytes to mono float32 at 16 kHz, in pieces.

Channels are mixed with ITU-R BS.775 weights, scaled so that nothing clips. Very short audio is padded with
silence to `MIN_SAMPLES`, so that the model's first analysis windows exist; empty audio is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial

import numpy as np
from numpy.typing import NDArray

from antiphon_executor.interface.errors import RequestFailed
from antiphon_executor.interface.media import (
    INPUT_SAMPLE_RATE_HZ,
    AudioClip,
    ClipWriter,
    KnownClip,
    StoredClip,
)
from antiphon_server.errors import ApiError
from antiphon_server.media.budget import Budget
from antiphon_server.media.decode.decoding import detect_format, run_decode_job
from antiphon_server.media.decode.formats import Format
from antiphon_server.media.decode.known_files import KnownFile, KnownFiles, audio_key
from antiphon_server.media.decode.limit_check import check_audio, check_audio_tokens
from antiphon_server.media.decode.plain_wav import read_plain_wav
from antiphon_server.media.decode.refusals import damaged_error, too_long_error
from antiphon_server.media.part import Part
from antiphon_server.media.policy import MediaPolicy
from antiphon_server.media.sandbox.job import SAMPLE_BYTES, AudioJob, LengthJob
from antiphon_server.media.sandbox.pool import Sandbox

MIN_SAMPLES = INPUT_SAMPLE_RATE_HZ // 10
# Decoded beyond the limit: codecs pad the last frame, and a longer file must be recognised as longer.
_EXTRA_SAMPLES = INPUT_SAMPLE_RATE_HZ
PIECE_SAMPLES = 30 * INPUT_SAMPLE_RATE_HZ
# While a file is decoded again, no other request's media reach the engine.
_DECODE_AGAIN_S = 10.0
_MIN_PACKET_LIMIT = 10_000
_PACKETS_PER_S = 1_000
# Containers round times to ticks, and resampling by an encoder adds a few milliseconds.
_TOLERANCE_S = 0.01
# A shorter file than this for each second that is allowed is not measured before it is decoded.
_LEAST_BYTES_PER_S = {"wav": 4_000, "aiff": 4_000, "au": 4_000, "w64": 4_000, "mp3": 1_000, "aac": 1_000}
_LEAST_OTHER_BYTES_PER_S = 250
# Files state their length with the padding of their codecs.
_STATED_MARGIN_S = 1.0
# A recording that the engine reads while it is decoded has at least this length, and at least these bytes:
# shorter ones are decoded in less than a second.
READ_AHEAD_S = 600.0
_READ_AHEAD_BYTES = 1 << 20

# The writer of a recording of about these seconds and this key, which the engine reads ahead.
BeginReading = Callable[[float, str], Awaitable[ClipWriter]]


class AudioDecoder:
    """Decodes audio parts in a decoder process; a plain WAV at 16 kHz is read in the server.

    A clip goes to a new `writer` while it is decoded, or a long one to that of `begin_reading`.
    `owner`: whose files are `known`.
    """

    def __init__(
        self,
        policy: MediaPolicy,
        sandbox: Sandbox,
        known: KnownFiles,
        writer: Callable[[], ClipWriter],
        owner: str,
        begin_reading: BeginReading | None = None,
    ) -> None:
        self._policy = policy
        self._sandbox = sandbox
        self._known = known
        self._writer = writer
        self._owner = owner
        self._begin_reading = begin_reading

    async def decode(self, part: Part, data: bytes, budget: Budget) -> AudioClip | StoredClip | KnownClip:
        """Raises BadRequest for audio that is too long, empty, damaged or in an unknown format.

        A file that was decoded before is not decoded again unless the engine asks for it. Its bytes are kept
        until then, under the charge for its samples.
        """
        key = await asyncio.to_thread(audio_key, data, self._owner)
        known = self._known.find(key)
        if known is None or len(data) > known.num_samples * SAMPLE_BYTES:
            clip = await self._decode_file(part, data, key, budget, self._begin_reading)
            self._remember(key, clip)
            return clip
        check_audio_tokens(part, known.num_samples / INPUT_SAMPLE_RATE_HZ, budget)
        charge(part, known.num_samples, budget)
        decode_again = partial(self._decode_again, part, data, key)
        wait = partial(_wait_for, decode_again, asyncio.get_running_loop())
        return KnownClip(known.clip_key, known.num_samples, wait)

    def _remember(self, key: str, clip: AudioClip | StoredClip) -> None:
        self._known.remember(key, KnownFile(clip.key or key, clip.num_samples))

    async def _decode_again(self, part: Part, data: bytes, key: str) -> AudioClip | StoredClip:
        # If this fails, the next request decodes the file before it reaches the engine.
        self._known.forget(key)
        try:
            clip = await self._decode_file(part, data, key, Budget(self._policy))
        except ApiError as error:
            raise RequestFailed("its audio could not be decoded a second time") from error
        self._remember(key, clip)
        return clip

    async def _decode_file(
        self, part: Part, data: bytes, key: str, budget: Budget, begin_reading: BeginReading | None = None
    ) -> AudioClip | StoredClip:
        container, limit_s = detect_format(data, part, "audio"), self._policy.audio_seconds
        samples = await asyncio.to_thread(read_plain_wav, data) if container.demuxer == "wav" else None
        if samples is None:
            length_s = await self._check_stated_length(
                part, data, container, budget, begin_reading is not None
            )
        else:
            length_s = len(samples) / INPUT_SAMPLE_RATE_HZ
        room = budget.room
        budget.progress.expect(length_s, room.audio_tokens(length_s) if room is not None else 0)
        is_ahead = begin_reading is not None and READ_AHEAD_S <= length_s <= limit_s
        writer = await begin_reading(length_s, key) if begin_reading and is_ahead else self._writer()
        intake = ClipIntake(part, writer, round(limit_s * INPUT_SAMPLE_RATE_HZ), budget)
        if samples is None:
            length_s = await self._decode_samples(part, data, container, budget, intake)
        elif length_s <= limit_s + _TOLERANCE_S:
            await intake.take_samples(samples)
        if length_s > limit_s + _TOLERANCE_S:
            raise too_long_error(part, length_s, limit_s)
        if not intake.written:
            raise part.invalid_error("contains no audio", "Send a file with an audio track.", "media_empty")
        check_audio_tokens(part, intake.written / INPUT_SAMPLE_RATE_HZ, budget)
        return await intake.finish(key)

    async def _check_stated_length(
        self, part: Part, data: bytes, container: Format, budget: Budget, is_read_ahead: bool
    ) -> float:
        """Refuses a file that is far longer than its limits, without decoding it. The seconds that it states,
        at most a little more than the limits; 0 if it is too small to be asked.
        """
        most_s = min(self._policy.audio_seconds, budget.audio_seconds_left)
        most_s = min(most_s, budget.decoded_bytes_left / (SAMPLE_BYTES * INPUT_SAMPLE_RATE_HZ))
        if budget.room is not None:
            most_s = min(most_s, budget.room.audio_seconds_for(budget.room.left_for(part.source.param)))
        least = most_s * _LEAST_BYTES_PER_S.get(container.demuxer, _LEAST_OTHER_BYTES_PER_S)
        if len(data) < (min(least, _READ_AHEAD_BYTES) if is_read_ahead else least):
            return 0.0
        margin_s = most_s + _STATED_MARGIN_S
        job = LengthJob(container.demuxer, container.decoders, margin_s, max_packets(most_s))
        report, _ = await run_decode_job(self._sandbox, self._policy, part, job, [data])
        if report.seconds > margin_s:
            check_audio(part, report.seconds, self._policy, budget)
        return report.seconds

    async def _decode_samples(
        self, part: Part, data: bytes, container: Format, budget: Budget, intake: ClipIntake
    ) -> float:
        """Decodes slightly more than limit or budget allow, at most. Returns the file's length in seconds."""
        max_samples = round(self._policy.audio_seconds * INPUT_SAMPLE_RATE_HZ) + _EXTRA_SAMPLES
        max_samples = min(max_samples, budget.decoded_bytes_left // SAMPLE_BYTES + 1)
        job = AudioJob(
            container.demuxer,
            container.decoders,
            max_samples,
            max_packets(self._policy.audio_seconds),
            PIECE_SAMPLES * SAMPLE_BYTES,
            PIECE_SAMPLES,
        )
        report, _ = await run_decode_job(
            self._sandbox, self._policy, part, job, [data], take_piece=intake.take_piece
        )
        if intake.received != report.samples:
            raise damaged_error(part)
        return report.seconds


def _wait_for(
    decode: Callable[[], Coroutine[None, None, AudioClip | StoredClip]], loop: asyncio.AbstractEventLoop
) -> AudioClip | StoredClip:
    """Runs `decode` in the loop and blocks this thread, in which the engine reads all requests' media."""
    again = asyncio.run_coroutine_threadsafe(decode(), loop)
    try:
        return again.result(_DECODE_AGAIN_S)
    except TimeoutError:
        again.cancel()
        raise RequestFailed(f"its audio took longer than {_DECODE_AGAIN_S:g} s to decode again") from None


class ClipIntake:
    """Passes the samples of a clip to its writer as they come: at most `limit` samples, within -1 to 1."""

    def __init__(self, part: Part, writer: ClipWriter, limit: int, budget: Budget) -> None:
        self._part = part
        self._writer = writer
        self._limit = limit
        self._budget = budget
        self.received = self.written = 0

    async def take_piece(self, data: bytes) -> None:
        """`data`: float32, little-endian."""
        await self.take_samples(np.frombuffer(data, dtype="<f4"))

    async def take_samples(self, samples: NDArray[np.float32]) -> None:
        self.received += len(samples)
        kept = samples[: self._limit - self.written]
        if len(kept):
            charge(self._part, len(kept), self._budget)
            self.written += len(kept)
            # Minutes of audio take tens of milliseconds, which is too long for the event loop.
            for start in range(0, len(kept), PIECE_SAMPLES):
                await asyncio.to_thread(self._write, kept[start : start + PIECE_SAMPLES])
            self._budget.progress.add(len(kept) / INPUT_SAMPLE_RATE_HZ)

    async def finish(self, key: str) -> AudioClip | StoredClip:
        if self.written < MIN_SAMPLES:
            self._writer.write(np.zeros(MIN_SAMPLES - self.written, np.float32))
        return await asyncio.to_thread(self._writer.finish, key)

    def _write(self, samples: NDArray[np.float32]) -> None:
        self._writer.write(clip_values(samples))


def charge(part: Part, num_samples: int, budget: Budget) -> None:
    """Charges samples of audio to the request, by their bytes and seconds."""
    budget.charge_decoded(part, num_samples * SAMPLE_BYTES)
    budget.charge_audio(part, num_samples / INPUT_SAMPLE_RATE_HZ)


def max_packets(seconds: float) -> int:
    """More packets than any codec needs: 500 video frames per second and audio packets of 2.5 ms."""
    return _MIN_PACKET_LIMIT + round(seconds * _PACKETS_PER_S)


def clip_values(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clips values of float files to -1 to 1 and replaces NaN by 0; the same array if none needs it."""
    if len(samples) and not (samples.max() <= 1.0 and samples.min() >= -1.0):
        return np.clip(np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
    return samples
