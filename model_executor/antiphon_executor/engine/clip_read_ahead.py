"""Reads a prompt up to a clip that is being decoded: requests for one token over the windows so far.

vLLM's caches keep what they compute for the client's own request, and at most an hour of features is sent at
a time. If the clip becomes louder, its windows are read again: its loudest moment sets the floor of all.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from antiphon_executor.interface.audio_geometry import HOP_SAMPLES
from antiphon_executor.interface.media import AudioClip, ClipWriter, Media, StoredClip
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_executor.interface.request import OmniRequest, TokensAhead
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.thinker.inputs import engine_prompt
from antiphon_executor.models.thinker.mel_writer import MelProgress, MelWriter
from antiphon_executor.models.thinker.window_length import WINDOW_FRAMES
from antiphon_executor.stages.prefill_progress import PrefillOf, no_prefill
from antiphon_executor.stages.stage import Generate

_log = logging.getLogger("antiphon.engine")

# 8 minutes: each request computes up to two blocks of the one before again.
LEAST_WINDOWS = 4
# An hour: all windows of a request are sent to the engine together.
MOST_WINDOWS = 30


class ClipReadAhead:
    """A `ReadAhead`, for one event loop. `request`: without media; its first placeholder is the clip's.

    `prefill_of`: computed and all tokens of a request's prompt while it is read.
    """

    def __init__(
        self, request: OmniRequest, key: str, writer: MelWriter, generate: Generate, ids: PromptIds,
        geometry: MediaGeometry, prefill_of: PrefillOf = no_prefill,
    ) -> None:  # fmt: skip
        end = request.prompt_token_ids.index(ids.audio) + 1
        self._request = replace(request, prompt_token_ids=request.prompt_token_ids[:end])
        self._key = key
        self._mel = writer
        self._generate = generate
        self._ids = ids
        self._geometry = geometry
        self._prefill_of = prefill_of
        self._tokens_read = 0
        self._loop = asyncio.get_running_loop()
        self._progress = MelProgress(0, 0.0)
        self._grown = asyncio.Event()
        self._is_complete = False
        self._requests = 0
        self._ahead = TokensAhead()
        self._reading = asyncio.create_task(self._read(), name=f"read-ahead-{request.request_id}")

    @property
    def writer(self) -> ClipWriter:
        return self

    @property
    def tokens_read(self) -> int:
        found = self._prefill_of(self._name)
        return self._tokens_read if found is None else found[0]

    def write(self, samples: NDArray[np.float32]) -> None:
        self._mel.write(samples)
        # Of this thread, so that the floor belongs to these windows.
        self._loop.call_soon_threadsafe(self._grow, self._mel.progress)

    def finish(self, key: str) -> AudioClip | StoredClip:
        # The last window may be longer or shorter than others, and is left to the client's own request.
        windows = self._mel.progress.windows
        clip = self._mel.finish(key)
        self._loop.call_soon_threadsafe(self._grow, MelProgress(windows, self._mel.progress.floor))
        return clip

    async def read_rest(self) -> None:
        self._is_complete = True
        self._grown.set()
        await asyncio.wait({self._reading})

    async def stop(self) -> TokensAhead:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        return self._ahead

    def _grow(self, progress: MelProgress) -> None:
        self._progress = progress
        self._grown.set()

    async def _read(self) -> None:
        """Reads windows as they come. An error ends it: the client's own request will meet it too."""
        done = MelProgress(0, 0.0)
        try:
            while True:
                first = done.windows if done.floor == self._progress.floor else 0
                stop = min(self._progress.windows, first + MOST_WINDOWS)
                if stop - first < LEAST_WINDOWS:
                    if self._is_complete:
                        return
                    self._grown.clear()
                    await self._grown.wait()
                    continue
                part = MelProgress(stop, self._progress.floor)
                if await self._read_part(part):
                    done = part
        except Exception:
            _log.info("a recording is not read ahead any more", exc_info=True)

    async def _read_part(self, part: MelProgress) -> bool:
        """False if the clip became louder meanwhile: what was read is of no use then."""
        reading = asyncio.create_task(self._read_windows(part))
        try:
            while not reading.done():
                self._grown.clear()
                growing = asyncio.create_task(self._grown.wait())
                await asyncio.wait({reading, growing}, return_when=asyncio.FIRST_COMPLETED)
                growing.cancel()
                if self._progress.floor != part.floor:
                    return False
            reading.result()
            return True
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read_windows(self, part: MelProgress) -> None:
        clip = self._mel.clip(self._key, part.windows * WINDOW_FRAMES * HOP_SAMPLES, part)
        request = replace(self._request, media=Media(audios=(clip,)))
        prompt = await asyncio.to_thread(engine_prompt, request, self._ids, self._geometry)
        params = SamplingParams(
            max_tokens=1, temperature=0, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY
        )
        self._requests += 1
        before = self._ahead
        tokens = len(request.prompt_token_ids) + self._geometry.audio_tokens(clip.num_samples)
        # Even if it is aborted, some of them have been read.
        self._ahead = TokensAhead(tokens, before.found)
        async with aclosing(self._generate(prompt, params, self._name)) as outputs:
            async for output in outputs:
                self._ahead = TokensAhead(tokens, before.cached(output.num_cached_tokens or 0))
                self._tokens_read = tokens

    @property
    def _name(self) -> str:
        """Of the request to the engine that reads now."""
        return f"{self._request.request_id}-ahead-{self._requests}"
