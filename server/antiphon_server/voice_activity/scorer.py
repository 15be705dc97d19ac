"""Scorer of speech for all streams of a server: one thread, and one batch of their next frames at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from antiphon_server.voice_activity.network import FRAME, SpeechNetwork
from antiphon_server.voice_activity.stream import CONTEXT, SpeechStream

_FULL_SCALE = np.float32(32_768)
# In frames, of a recording: half a minute, and a second. Sixteen minutes are scored at a time (2 s).
_PART, _BEFORE = 938, 32
_SIDE_BY_SIDE = 32


class Abandoned(Exception):
    """The scores of a recording are wanted by no one any more."""


@dataclass(frozen=True, slots=True)
class _Job:
    stream: SpeechStream
    frames: NDArray[np.int16]
    scores: asyncio.Future[NDArray[np.float32]]


class SpeechScorer:
    """For one event loop, which it does not block. The weights are read with the first frame."""

    def __init__(self) -> None:
        self._network: SpeechNetwork | None = None
        self._threads = ThreadPoolExecutor(1, "voice-activity")
        self._waiting: list[_Job] = []
        self._rounds: asyncio.Task[None] | None = None

    async def score(self, stream: SpeechStream, frames: NDArray[np.int16]) -> NDArray[np.float32]:
        """The probability of speech in the stream's next frames [n, 512]. One call a stream at a time."""
        job = _Job(stream, frames, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._rounds is None:
            self._rounds = asyncio.create_task(self._run())
        return await job.scores

    def score_recording(
        self, samples: NDArray[np.float32], is_abandoned: Callable[[], bool] = lambda: False
    ) -> NDArray[np.float32]:
        """The probability of speech in each frame of a whole recording, in the calling thread.

        Its parts are scored as streams of their own, each from a second before its beginning. Raises
        Abandoned.
        """
        starts = range(0, -(-len(samples) // FRAME), _PART)
        scores = [np.zeros(0, np.float32)]
        for at in range(0, len(starts), _SIDE_BY_SIDE):
            if is_abandoned():
                raise Abandoned
            scores += self._score_parts(samples, starts[at : at + _SIDE_BY_SIDE])
        return np.concatenate(scores)

    def _score_parts(self, samples: NDArray[np.float32], starts: range) -> list[NDArray[np.float32]]:
        before = [min(start, _BEFORE) for start in starts]
        parts = [
            _frames(samples[(start - early) * FRAME : (start + _PART) * FRAME])
            for start, early in zip(starts, before, strict=True)
        ]
        scores = score_batch(self._loaded(), [SpeechStream() for _ in parts], parts)
        return [one[early:] for one, early in zip(scores, before, strict=True)]

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                jobs, self._waiting = self._waiting, []
                try:
                    scored = await loop.run_in_executor(self._threads, self._score, jobs)
                except Exception as error:
                    # Without this their callers would wait without end.
                    for job in jobs:
                        if not job.scores.done():
                            job.scores.set_exception(error)
                    continue
                for job, scores in zip(jobs, scored, strict=True):
                    if not job.scores.done():
                        job.scores.set_result(scores)
        finally:
            self._rounds = None

    def _score(self, jobs: list[_Job]) -> list[NDArray[np.float32]]:
        return score_batch(self._loaded(), [job.stream for job in jobs], [job.frames for job in jobs])

    def _loaded(self) -> SpeechNetwork:
        if self._network is None:
            self._network = SpeechNetwork()
        return self._network


def score_batch(
    network: SpeechNetwork, streams: list[SpeechStream], frames: list[NDArray[np.int16]]
) -> list[NDArray[np.float32]]:
    """Scores of each stream's frames [n, 512]. Frames of different streams are one batch."""
    scores = [np.zeros(len(one), np.float32) for one in frames]
    for step in range(max(map(len, frames), default=0)):
        at = [number for number, one in enumerate(frames) if step < len(one)]
        new = np.stack([frames[number][step] for number in at]).astype(np.float32) / _FULL_SCALE
        context = np.stack([streams[number].context for number in at])
        hidden = np.stack([streams[number].hidden for number in at])
        cell = np.stack([streams[number].cell for number in at])
        found, hidden, cell = network.score(np.concatenate((context, new), axis=1), hidden, cell)
        for row, number in enumerate(at):
            stream = streams[number]
            stream.context, stream.hidden, stream.cell = new[row, FRAME - CONTEXT :], hidden[row], cell[row]
            scores[number][step] = found[row]
    return scores


def _frames(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """[n, 512]; the last one is padded."""
    padded = np.zeros(-(-len(samples) // FRAME) * FRAME, np.int16)
    padded[: len(samples)] = np.clip(samples, -1, 1) * 32_767
    return padded.reshape(-1, FRAME)
