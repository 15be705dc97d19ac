"""The media of one request: what the client sent in, decoded arrays out, in the order of the parts.

Fetches, checks and decodes all parts side by side; decoding happens in sandboxed children only.
Never hands a client a library's words, a path or an address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ, AudioClip, Media, Picture, VideoClip
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_server.errors import BadRequest, InternalError
from antiphon_server.media.budget import Budget, ReserveBytes, no_reservation
from antiphon_server.media.data_url import check_inline, decode_inline
from antiphon_server.media.decode.audio import SAMPLE_BYTES, AudioDecoder
from antiphon_server.media.decode.decoding import first_failure
from antiphon_server.media.decode.image import PictureDecoder
from antiphon_server.media.decode.video import VideoDecoder
from antiphon_server.media.fetch.client import Fetcher
from antiphon_server.media.fetch.url_policy import is_url
from antiphon_server.media.part import Part, number_parts
from antiphon_server.media.policy import MediaPolicy, flag
from antiphon_server.media.sandbox.job import SoundJob
from antiphon_server.media.sandbox.pool import Sandbox
from antiphon_server.media.sizing import Sizing
from antiphon_server.media.source import MediaSource
from antiphon_server.media.wav_header import wav_header

_PROOF_SAMPLES = 1_600
_SAID_CHARACTERS = 200

Decoded = AudioClip | Picture | VideoClip


class MediaLoader:
    """One per server. `start` before the first `load`, `close` after the last."""

    def __init__(self, policy: MediaPolicy, fetcher: Fetcher | None = None) -> None:
        self.policy = policy
        self._fetcher = fetcher or Fetcher(policy)
        self._sandbox: Sandbox | None = None
        self._sizing = Sizing(policy, None)

    def set_geometry(self, geometry: MediaGeometry) -> None:
        """From now on pictures and frames are decoded to the size that this model looks at."""
        self._sizing = Sizing(self.policy, geometry)

    async def start(self) -> None:
        """Starts the decoders. Raises InternalError, or SandboxTooWeak."""
        sandbox = Sandbox(self.policy)
        (await sandbox.start()).log()
        self._sandbox = sandbox
        await self._prove(sandbox)

    async def close(self) -> None:
        """Ends the decoders; requests that still decode are their callers' to cancel."""
        if self._sandbox is not None:
            await self._sandbox.close()
            self._sandbox = None

    async def _prove(self, sandbox: Sandbox) -> None:
        """Decodes a moment of silence: shows that a confined decoder works."""
        job = SoundJob("wav", ("pcm_s16le",), _PROOF_SAMPLES, _PROOF_SAMPLES, _PROOF_SAMPLES * SAMPLE_BYTES)
        outcome = await sandbox.run(
            job, [wav_header(_PROOF_SAMPLES, INPUT_SAMPLE_RATE_HZ) + bytes(2 * _PROOF_SAMPLES)]
        )
        if not outcome.succeeded or len(outcome.output) != job.output_bytes:
            await self.close()
            said = outcome.log.decode(errors="replace").strip()[-_SAID_CHARACTERS:]
            raise InternalError(f"a confined media decoder does not decode: {said or 'it ended at once'}")

    async def load(self, sources: Sequence[MediaSource], hold: ReserveBytes = no_reservation) -> Media:
        """Decodes all parts; each kind keeps its order. `hold` is told of decoded bytes, and may refuse them.

        Raises BadRequest (with the part's `param`) for media that is refused, Overloaded where no decoder
        is free in time. Cancelling stops the decoders of this request.
        """
        if not sources:
            return Media()
        if self._sandbox is None:
            raise InternalError("media decoding has not been started")
        self._check_counts(sources)
        one = _Loading(self.policy, self._fetcher, self._sandbox, self._sizing, hold)
        with first_failure():
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one.load(part)) for part in number_parts(sources)]
        decoded = [task.result() for task in tasks]
        return Media(
            audios=tuple(item for item in decoded if isinstance(item, AudioClip)),
            pictures=tuple(item for item in decoded if isinstance(item, Picture)),
            videos=tuple(item for item in decoded if isinstance(item, VideoClip)),
        )

    def _check_counts(self, sources: Sequence[MediaSource]) -> None:
        limit = self.policy.request_parts
        if len(sources) > limit:
            message = (
                f"the request has {len(sources)} media parts; limit is {limit} ({flag('request_parts')}). "
                "Send fewer or raise the limit."
            )
            raise BadRequest(message, param=sources[limit].param, code="media_limit_exceeded")


class _Loading:
    """One request's loading: its budget, and what the decoders need."""

    def __init__(
        self, policy: MediaPolicy, fetcher: Fetcher, sandbox: Sandbox, sizing: Sizing, hold: ReserveBytes
    ) -> None:
        self._policy = policy
        self._fetcher = fetcher
        self._fetches = asyncio.Semaphore(policy.request_fetches)
        self._budget = Budget(policy, hold)
        self._audio = AudioDecoder(policy, sandbox)
        self._pictures = PictureDecoder(policy, sandbox, sizing)
        self._videos = VideoDecoder(policy, sandbox, sizing)

    async def load(self, part: Part) -> Decoded:
        """One part, from its locations to its arrays."""
        if part.source.is_frame_list:
            return await self._frame_list(part)
        if len(part.source.locations) != 1:
            raise part.bad("must have exactly one location", "Send one data URL or base64 string.")
        data = await self._bytes(part.source.locations[0], part)
        if part.source.kind == "audio":
            return await self._audio.decode(part, data, self._budget)
        if part.source.kind == "image":
            return await self._pictures.decode(part, data, self._budget)
        return await self._videos.decode(part, data, self._budget)

    async def _frame_list(self, part: Part) -> VideoClip:
        locations = part.source.locations
        limit = min(self._policy.video_frames, part.source.max_frames or self._policy.video_frames)
        if not locations:
            raise part.bad("has no frames", "Send at least one.")
        if len(locations) > limit:
            fix = "Send fewer frames or raise the limit."
            raise part.over(f"has {len(locations)} frames", f"{limit} frames", "video_frames", fix)
        self._check_frame_list_length(part)
        with first_failure():
            async with asyncio.TaskGroup() as group:
                frames = [group.create_task(self._bytes(location, part)) for location in locations]
        data = [frame.result() for frame in frames]
        return await self._pictures.decode_frame_list(part, data, self._budget)

    def _check_frame_list_length(self, part: Part) -> None:
        """A client may space frames by years, but positions in time end, and admission adds up seconds."""
        fps, most_s = part.source.fps or self._policy.video_fps, self._policy.video_seconds
        seconds = len(part.source.locations) / fps
        if seconds > most_s:
            fix = "Send fewer frames or a higher fps."
            got = f"lasts {seconds:g} s at {fps:g} frames a second"
            raise part.over(got, f"{most_s:g} s", "video_seconds", fix)

    async def _bytes(self, location: str, part: Part) -> bytes:
        if not is_url(location):
            start = check_inline(location, part, self._policy, self._budget)
            return await asyncio.to_thread(decode_inline, location, start, part)
        async with self._fetches:
            take = partial(self._budget.take_encoded, part)
            data = await self._fetcher.fetch(location, part, take)
        if not data:
            raise part.bad("is empty", "Send the file as base64 instead.")
        return data
