"""Loader of a request's media: fetches, checks and decodes all parts concurrently, in sandboxed processes.

Errors never contain text of a library, a path or an address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from antiphon_executor.interface.media import (
    INPUT_SAMPLE_RATE_HZ,
    AudioClip,
    ClipWriter,
    KnownClip,
    Media,
    RgbImage,
    SampleWriter,
    StoredClip,
    VideoClip,
)
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_server.errors import BadRequest, InternalError
from antiphon_server.media.budget import Budget, ReserveBytes, no_reservation
from antiphon_server.media.data_url import check_inline, check_size, decode_inline
from antiphon_server.media.decode.audio import AudioDecoder, BeginReading
from antiphon_server.media.decode.decoding import raise_first_failure
from antiphon_server.media.decode.image import ImageDecoder
from antiphon_server.media.decode.known_files import KnownFiles
from antiphon_server.media.decode.video import BeginVideo, VideoDecoder
from antiphon_server.media.decoding_progress import DecodingProgress
from antiphon_server.media.fetch.client import Fetcher
from antiphon_server.media.fetch.url_policy import is_url
from antiphon_server.media.frame_store import FrameStore
from antiphon_server.media.part import Part, number_parts
from antiphon_server.media.policy import MediaPolicy, flag
from antiphon_server.media.sandbox.job import SAMPLE_BYTES, AudioJob
from antiphon_server.media.sandbox.pool import Sandbox
from antiphon_server.media.sizing import Sizing
from antiphon_server.media.source import MediaSource, StoredBytes
from antiphon_server.media.wav_header import wav_header

_CHECK_SAMPLES = 1_600
_SHOWN_CHARS = 200

Sound = AudioClip | StoredClip | KnownClip
Decoded = Sound | RgbImage | VideoClip


class MediaLoader:
    """One per server. `start` before the first `load`, `close` after the last."""

    def __init__(self, policy: MediaPolicy, fetcher: Fetcher | None = None) -> None:
        self.policy = policy
        self._fetcher = fetcher or Fetcher(policy)
        self._sandbox: Sandbox | None = None
        self._sizing = Sizing(policy, None)
        self._clip_writer: Callable[[], ClipWriter] = SampleWriter
        self._known_files = KnownFiles()
        self._frames = FrameStore(policy.stored_frames_bytes)

    def set_geometry(self, geometry: MediaGeometry, context_tokens: int | None = None) -> None:
        """Images and frames of later requests are decoded to the size that this model uses."""
        self._sizing = Sizing(self.policy, geometry, context_tokens)

    def set_clip_writer(self, clip_writer: Callable[[], ClipWriter]) -> None:
        """Audio of later requests goes to the engine's writers while it is decoded."""
        self._clip_writer = clip_writer

    def remember_files(self, kept_audio_s: float) -> None:
        """Audio files of later requests are not decoded twice while the engine has their features."""
        self._known_files = KnownFiles(kept_audio_s)

    async def start(self) -> None:
        """Starts the decoders and checks them. Raises InternalError or SandboxTooWeak."""
        sandbox = Sandbox(self.policy)
        (await sandbox.start()).log()
        self._sandbox = sandbox
        await self._verify_decoding(sandbox)
        try:
            self._frames.start(self.policy.frames_folder)
        except OSError as error:
            await self.close()
            reason = f"video frames cannot be stored in temporary files: {error.strerror}"
            reason += f"; {flag('frames_folder')} names another folder"
            raise InternalError(reason) from error

    async def close(self) -> None:
        """Ends the decoders. Callers must cancel requests that still decode."""
        self._frames.close()
        if self._sandbox is not None:
            await self._sandbox.close()
            self._sandbox = None

    async def _verify_decoding(self, sandbox: Sandbox) -> None:
        """Decodes 0.1 s of silence to check that a confined decoder works."""
        job = AudioJob("wav", ("pcm_s16le",), _CHECK_SAMPLES, _CHECK_SAMPLES, _CHECK_SAMPLES * SAMPLE_BYTES)
        outcome = await sandbox.run_job(
            job, [wav_header(_CHECK_SAMPLES, INPUT_SAMPLE_RATE_HZ) + bytes(2 * _CHECK_SAMPLES)]
        )
        if not outcome.succeeded or len(outcome.output) != job.output_bytes:
            await self.close()
            log_text = outcome.log.decode(errors="replace").strip()[-_SHOWN_CHARS:]
            raise InternalError(f"a confined media decoder does not decode: {log_text or 'it ended at once'}")

    async def load(
        self,
        sources: Sequence[MediaSource],
        reserve_bytes: ReserveBytes = no_reservation,
        text_tokens: int = 0,
        owner: str = "",
        begin_reading: BeginReading | None = None,
        begin_video: BeginVideo | None = None,
        progress: DecodingProgress | None = None,
    ) -> Media:
        """Decodes all parts; each kind keeps its order. `reserve_bytes` gets decoded sizes and may raise.

        `text_tokens`: of the prompt, with one placeholder for each part. Media that would overfill the
        context are refused before they are decoded. `owner`: of the request, as in `cache_salt`.
        `begin_reading`, `begin_video`: called for a long recording, or video, before it is decoded.
        `progress`: of the decoding.

        Raises BadRequest (with the part's `param`) for media that is refused, Overloaded if no decoder
        becomes free in time. Cancelling kills the decoders of this request.
        """
        if not sources:
            return Media()
        self._check_counts(sources)
        budget = Budget(self.policy, reserve_bytes, self._sizing.room(text_tokens), progress)
        decoders = self._decoders(self._known_files, self._clip_writer, owner, begin_reading, begin_video)
        request = _RequestLoader(self.policy, self._fetcher, decoders, budget)
        with raise_first_failure():
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(request.load_part(part)) for part in number_parts(sources)]
        decoded = [task.result() for task in tasks]
        return Media(
            audios=tuple(item for item in decoded if isinstance(item, Sound)),
            images=tuple(item for item in decoded if isinstance(item, RgbImage)),
            videos=tuple(item for item in decoded if isinstance(item, VideoClip)),
        )

    async def load_samples(
        self, source: MediaSource, reserve_bytes: ReserveBytes = no_reservation
    ) -> AudioClip:
        """Decodes one audio part to all of its samples, which `load` does not keep of a long one."""
        budget = Budget(self.policy, reserve_bytes)
        decoders = self._decoders(KnownFiles(), SampleWriter, "")
        request = _RequestLoader(self.policy, self._fetcher, decoders, budget)
        (part,) = number_parts((source,))
        clip = await request.load_part(part)
        if not isinstance(clip, AudioClip):
            raise TypeError("the part is no audio")
        return clip

    def _decoders(
        self,
        known: KnownFiles,
        clip_writer: Callable[[], ClipWriter],
        owner: str,
        begin_reading: BeginReading | None = None,
        begin_video: BeginVideo | None = None,
    ) -> _Decoders:
        if self._sandbox is None:
            raise InternalError("media decoding has not been started")
        return _Decoders(
            AudioDecoder(self.policy, self._sandbox, known, clip_writer, owner, begin_reading),
            ImageDecoder(self.policy, self._sandbox, self._sizing, self._frames, owner),
            VideoDecoder(
                self.policy, self._sandbox, self._sizing, self._frames, clip_writer, owner, begin_video
            ),
        )

    def _check_counts(self, sources: Sequence[MediaSource]) -> None:
        limit = self.policy.request_parts
        if len(sources) > limit:
            message = (
                f"the request has {len(sources)} media parts; limit is {limit} ({flag('request_parts')}). "
                "Send fewer or raise the limit."
            )
            raise BadRequest(message, param=sources[limit].param, code="media_limit_exceeded")


@dataclass(frozen=True, slots=True)
class _Decoders:
    audio: AudioDecoder
    images: ImageDecoder
    videos: VideoDecoder


class _RequestLoader:
    """Loads the parts of one request under its budget."""

    def __init__(
        self,
        policy: MediaPolicy,
        fetcher: Fetcher,
        decoders: _Decoders,
        budget: Budget,
    ) -> None:
        self._policy = policy
        self._fetcher = fetcher
        self._fetches = asyncio.Semaphore(policy.request_fetches)
        self._budget = budget
        self._decoders = decoders

    async def load_part(self, part: Part) -> Decoded:
        """The decoded arrays of one part."""
        if part.source.is_frame_list:
            return await self._load_frame_list(part)
        data = await self._read_part(part)
        if part.source.kind == "audio":
            return await self._decoders.audio.decode(part, data, self._budget)
        if part.source.kind == "image":
            return await self._decoders.images.decode(part, data, self._budget)
        return await self._decoders.videos.decode(part, data, self._budget)

    async def _load_frame_list(self, part: Part) -> VideoClip:
        locations = part.source.locations
        limit = min(self._policy.video_frames, part.source.max_frames or self._policy.video_frames)
        if not locations:
            raise part.invalid_error("has no frames", "Send at least one.")
        if len(locations) > limit:
            fix = "Send fewer frames or raise the limit."
            raise part.limit_error(f"has {len(locations)} frames", f"{limit} frames", "video_frames", fix)
        self._check_frame_list_length(part)
        with raise_first_failure():
            async with asyncio.TaskGroup() as group:
                frames = [group.create_task(self._read_location(location, part)) for location in locations]
        data = [frame.result() for frame in frames]
        return await self._decoders.images.decode_frame_list(part, data, self._budget)

    def _check_frame_list_length(self, part: Part) -> None:
        """Limits the length by frame rate: the model's time positions end, and admission counts seconds."""
        fps, most_s = part.source.fps or self._policy.video_fps, self._policy.video_seconds
        seconds = len(part.source.locations) / fps
        if seconds > most_s:
            fix = "Send fewer frames or a higher fps."
            got = f"lasts {seconds:g} s at {fps:g} frames a second"
            raise part.limit_error(got, f"{most_s:g} s", "video_seconds", fix)

    async def _read_part(self, part: Part) -> bytes:
        if part.source.stored is not None:
            check_size(part.source.stored.size_bytes, part, self._policy, self._budget)
            return await asyncio.to_thread(_read_stored, part.source.stored)
        if len(part.source.locations) != 1:
            raise part.invalid_error("must have exactly one location", "Send one data URL or base64 string.")
        return await self._read_location(part.source.locations[0], part)

    async def _read_location(self, location: str, part: Part) -> bytes:
        if not is_url(location):
            start = check_inline(location, part, self._policy, self._budget)
            return await asyncio.to_thread(decode_inline, location, start, part)
        async with self._fetches:
            charge = partial(self._budget.charge_encoded, part)
            data = await self._fetcher.fetch(location, part, charge)
        if not data:
            raise part.invalid_error("is empty", "Send the file as base64 instead.")
        return data


def _read_stored(stored: StoredBytes) -> bytes:
    with stored.open() as file:
        return file.read()
