"""A server over the echo engine, for tests: the real application and its parts, with scripted media.

In: nothing, or the parts a test wants different. Out: a `Service`. Media are canned: what a source decodes to
depends on its kind alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from antiphon_executor.interface.media import AudioClip, Media, RgbImage, VideoClip
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.chat.prompt.renderer import PromptRenderer, read_placeholders
from antiphon_server.chat.prompt.template import ChatTemplate
from antiphon_server.chat.prompt.tokenizer import PromptTokenizer
from antiphon_server.chat.schema.cost_estimator import SchemaCostEstimator
from antiphon_server.chat.service import Service
from antiphon_server.chat.transcripts import Transcripts
from antiphon_server.config.settings import Settings
from antiphon_server.files.store import FileStore
from antiphon_server.keys.key_ring import KeyRing
from antiphon_server.media.budget import ReserveBytes
from antiphon_server.media.loader import MediaLoader
from antiphon_server.media.source import MediaKind, MediaSource
from antiphon_server.observability.metrics import ServerMetrics
from antiphon_server.observability.spans import RequestSpans
from tests.echo_engine import EchoEngine


class CannedMedia:
    """One second of silence, a grey picture of 64 x 64, two seconds of video at 2 fps."""

    def __init__(self) -> None:
        self.loads: list[tuple[MediaSource, ...]] = []

    async def load(
        self,
        sources: Sequence[MediaSource],
        hold: ReserveBytes,
        text_tokens: int = 0,
        owner: str = "",
        *_: object,
    ) -> Media:
        self.loads.append(tuple(sources))
        second = AudioClip(np.zeros(16_000, np.float32))
        picture = RgbImage(np.full((64, 64, 3), 128, np.uint8))
        frames = np.zeros((4, 64, 64, 3), np.uint8)
        return Media(
            tuple(second for source in sources if source.kind == "audio"),
            tuple(picture for source in sources if source.kind == "image"),
            tuple(
                VideoClip(frames, 2.0, second if source.use_audio else None)
                for source in sources
                if source.kind == "video"
            ),
        )

    async def load_samples(self, source: MediaSource, hold: ReserveBytes) -> AudioClip:
        (clip,) = (await self.load((source,), hold)).audios
        assert isinstance(clip, AudioClip)
        return clip


@cache
def prompt_parts(folder: Path) -> tuple[ChatTemplate, PromptTokenizer, dict[MediaKind, int]]:
    """Read once: compiling the template takes longer than most tests."""
    tokenizer = PromptTokenizer.from_folder(folder)
    return ChatTemplate.from_folder(folder), tokenizer, read_placeholders(folder, tokenizer)


def make_service(
    folder: Path, engine: EchoEngine | None = None, spans: RequestSpans | None = None, **settings: Any
) -> Service:
    chosen = Settings(engine={"model": folder}, **settings)
    return Service(
        settings=chosen,
        engine=engine or EchoEngine(folder),
        prompts=PromptRenderer(*prompt_parts(folder), chosen.chat.prompt),
        schema_costs=SchemaCostEstimator(folder, chosen.chat.grammar),
        media=cast("MediaLoader", CannedMedia()),
        files=FileStore(chosen.files),
        admission=AdmissionController(Capacity(16, 16, 64, 3600.0, 30.0, 1 << 30)),
        metrics=ServerMetrics("test"),
        transcripts=Transcripts(chosen.chat),
        keys=KeyRing(key.get_secret_value() for key in chosen.server.api_keys),
        spans=spans,
    )
