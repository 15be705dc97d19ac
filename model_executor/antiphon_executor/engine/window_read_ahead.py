"""Reads a prompt ahead of its request: requests for one token over the windows of its medium so far.

vLLM's caches keep what they compute for the client's own request. If the sound becomes louder, all windows
are read again: its loudest moment sets the floor of all.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from contextlib import aclosing
from dataclasses import dataclass, replace

from vllm import SamplingParams
from vllm.inputs import TokensPrompt
from vllm.sampling_params import RequestOutputKind

from antiphon_executor.interface.media import Media
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_executor.interface.request import OmniRequest, TokensAhead
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.thinker.inputs import engine_prompt
from antiphon_executor.models.thinker.mel_writer import MelProgress
from antiphon_executor.stages.prefill_progress import PrefillOf, no_prefill
from antiphon_executor.stages.stage import Generate

_log = logging.getLogger("antiphon.engine")

# 8 minutes of audio: each request computes up to two blocks of the one before again.
LEAST_WINDOWS = 4
# An hour: all windows of a request are sent to the engine together.
MOST_WINDOWS = 30


@dataclass(frozen=True, slots=True)
class PromptReader:
    """What reads prompts. `prefill_of`: computed and all tokens of a request's prompt while it is read."""

    generate: Generate
    ids: PromptIds
    geometry: MediaGeometry
    prefill_of: PrefillOf = no_prefill


class WindowReadAhead(ABC):
    """A `ReadAhead`, for one event loop. `request`: without media; `placeholder`: its only medium's."""

    def __init__(self, request: OmniRequest, placeholder: int, reader: PromptReader) -> None:
        end = request.prompt_token_ids.index(placeholder) + 1
        self._request = replace(request, prompt_token_ids=request.prompt_token_ids[:end])
        self._reader = reader
        self._tokens_read = 0
        self._loop = asyncio.get_running_loop()
        self._progress = MelProgress(0, 0.0)
        self._grown = asyncio.Event()
        self._is_complete = False
        self._requests = 0
        self._ahead = TokensAhead()
        self._reading = asyncio.create_task(self._read(), name=f"read-ahead-{request.request_id}")

    @abstractmethod
    def media(self, part: MelProgress) -> tuple[Media, int]:
        """The medium whose first windows are read, and how many tokens they take at most."""

    @property
    def tokens_read(self) -> int:
        found = self._reader.prefill_of(self._name)
        return self._tokens_read if found is None else found[0]

    async def read_rest(self) -> None:
        self._is_complete = True
        self._grown.set()
        await asyncio.wait({self._reading})

    async def stop(self) -> TokensAhead:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        return self._ahead

    def grow(self, progress: MelProgress) -> None:
        """In the loop: so many windows can be read."""
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
            _log.info("a medium is not read ahead any more", exc_info=True)

    async def _read_part(self, part: MelProgress) -> bool:
        """False if the sound became louder meanwhile: what was read is of no use then."""
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
        prompt, tokens = await asyncio.to_thread(self._prompt_of, part)
        params = SamplingParams(
            max_tokens=1, temperature=0, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY
        )
        self._requests += 1
        before = self._ahead
        # Even if it is aborted, some of them have been read.
        self._ahead = TokensAhead(tokens, before.found)
        async with aclosing(self._reader.generate(prompt, params, self._name)) as outputs:
            async for output in outputs:
                self._ahead = TokensAhead(tokens, before.cached(output.num_cached_tokens or 0))
                self._tokens_read = tokens

    def _prompt_of(self, part: MelProgress) -> tuple[TokensPrompt, int]:
        media, tokens = self.media(part)
        request = replace(self._request, media=media)
        prompt = engine_prompt(request, self._reader.ids, self._reader.geometry, part.windows)
        return prompt, len(request.prompt_token_ids) + tokens

    @property
    def _name(self) -> str:
        """Of the request to the engine that reads now."""
        return f"{self._request.request_id}-ahead-{self._requests}"
