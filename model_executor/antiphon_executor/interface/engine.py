"""The omni engine: the protocol through which the server uses the Thinker and the Talker."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from prometheus_client.metrics_core import Metric

from antiphon_executor.interface.card import ModelCard
from antiphon_executor.interface.event_stream import EventStream
from antiphon_executor.interface.media import ClipWriter, LiveClipWriter, VideoClip
from antiphon_executor.interface.request import OmniRequest, ReadingRequest, TokensAhead
from antiphon_executor.interface.status import EngineStatus


class ReadAhead(Protocol):
    """The prompt of one later request is read ahead, from the first long part of its recording on."""

    @property
    def writer(self) -> ClipWriter:
        """Takes the recording, the only medium of the prompt."""
        ...

    @property
    def tokens_read(self) -> int:
        """Of the prompt, by now; fewer again if the recording becomes louder."""
        ...

    async def read_rest(self) -> None:
        """The recording is complete. Returns when the prompt has been read up to its last windows."""
        ...

    async def stop(self) -> TokensAhead:
        """Reads no further, aborts what the engine still does for it, and returns when that is done."""
        ...


class VideoReadAhead(ReadAhead, Protocol):
    """As `ReadAhead`, of a prompt whose only medium is a video. `writer` takes its sound, if it has any."""

    def frames_written(self, frames: int) -> None:
        """So many frames of the video are in their file by now."""
        ...


class OmniEngine(Protocol):
    """Both stages behind one interface. One instance serves all requests."""

    @property
    def card(self) -> ModelCard: ...

    def generate(self, request: OmniRequest) -> EventStream:
        """Events of one request: `PromptProgress` of a long prompt, then `PromptCounted`, one `TextEnded` per
        choice, one `SpeechEnded` if it speaks. Reading raises `EngineError`.

        Closing the stream, or cancelling the task that reads it, aborts the request in both stages.
        """
        ...

    def read_aloud(self, request: ReadingRequest) -> EventStream:
        """Speech of a given text: `SpeechDelta`s, then one `SpeechEnded`. It needs the Talker alone.

        `SpeechDelta.text_tokens` counts tokens of all pieces. Errors and closing as in `generate`.
        """
        ...

    def clip_writer(self, window_s: int | None = None, folder: Path | None = None) -> LiveClipWriter:
        """Takes a clip of a later request while it is decoded, and keeps what the model needs of it.

        `window_s`: of the clip's windows, a multiple of 8 s; None: those of long clips. `folder`: for
        temporary files; None: the system's.
        """
        ...

    def read_ahead(self, request: OmniRequest, key: str, folder: Path | None = None) -> ReadAhead:
        """Begins to read the prompt of a later request, given without its only medium: a clip under `key`.

        `folder`: as of `clip_writer`.
        The caller stops it before it generates from the request. Only if the card has `reads_ahead`.
        """
        ...

    def read_video_ahead(
        self, request: OmniRequest, key: str, video: VideoClip, samples: int, folder: Path | None = None
    ) -> VideoReadAhead:
        """As `read_ahead`. `video`: of frames in a file that is being written, without its sound.

        `key`, `samples`: of its sound; 0 samples if it has none.
        """
        ...

    def report_consumed(self, request_id: str, samples: int) -> None:
        """Reports that the client has consumed `samples` of the request's speech in total.

        The engine pauses a stream that is too far ahead of its client (`PaceSettings`). Without reports it
        assumes that the client consumes speech immediately. Unknown request ids are ignored.
        """
        ...

    def status(self) -> EngineStatus: ...

    def metrics(self) -> Iterable[Metric]:
        """The engines' own Prometheus metrics, labelled by `stage`."""
        ...

    async def close(self) -> None: ...
