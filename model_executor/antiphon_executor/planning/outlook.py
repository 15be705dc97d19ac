"""What a memory plan means for requests: how many at which length, how long audio and video, what limits."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedConfig

from antiphon_executor.checkpoint.audio_rules import audio_geometry_of
from antiphon_executor.checkpoint.family import QWEN3_5_OMNI, family_of
from antiphon_executor.interface.audio_geometry import SAMPLE_RATE_HZ
from antiphon_executor.interface.media_geometry import (
    MediaGeometry,
    PerFrameBounds,
    PixelBounds,
    Timestamps,
)
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.planning.planner import MemoryPlan

LENGTHS = (4_096, 32_768, 262_144)
# A prompt's text beside its media, and a short answer.
TEXT_TOKENS = 256
FILM = (720, 1280)
FILM_FPS = 1.0
# Qwen's tokenizers write "<12.3 seconds>" with one token for each character of the number.
_TIMESTAMPS = Timestamps(tuple(range(7, 13)), 60_000)


@dataclass(frozen=True, slots=True)
class RequestRow:
    """Requests of `tokens` tokens, media and answer included. `prefill_s`: of one; None without a rate."""

    tokens: int
    requests: int
    prefill_s: float | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """`longest_tokens`: of one request. `spoken_audio_s`: the longest audio of a request answered in speech.

    `video_s`: of 1280 x 720 pixels at one frame a second with sound, if the processor keeps that size.
    `limit`: what bounds one request, `advice`: what to change.
    """

    rows: tuple[RequestRow, ...]
    longest_tokens: int
    audio_s: int
    spoken_audio_s: int
    video_s: int
    limit: str
    advice: tuple[str, ...]


def outlook(
    plan: MemoryPlan, config: PreTrainedConfig, settings: EngineSettings, rate: float | None = None
) -> Outlook:
    """`rate`: tokens of prompts that the Thinker reads per second."""
    thinker = plan.engines[0]
    context = thinker.request_tokens
    held = max((thinker.blocks - 1) // thinker.pages.token_groups * thinker.pages.block_tokens, 0)
    longest = min(context, held)
    geometry = geometry_of(config)
    media = max(longest - TEXT_TOKENS, 0)
    return Outlook(
        rows=tuple(
            RequestRow(tokens, thinker.requests_of(tokens), tokens / rate if rate else None)
            for tokens in LENGTHS
            if tokens <= context
        ),
        longest_tokens=longest,
        audio_s=_longest(media, geometry, film=False),
        spoken_audio_s=_longest(min(media, settings.talker.media_rows), geometry, film=False)
        if settings.speech
        else 0,
        video_s=_longest(media, geometry, film=True),
        limit="the model's context" if context <= held else "the Thinker's cache",
        advice=tuple(_advice(plan, settings, context, held)),
    )


def geometry_of(config: PreTrainedConfig) -> MediaGeometry:
    """Token counts without the checkpoint's processor, which may lower the size of frames."""
    bounds = PixelBounds(max_pixels=FILM[0] * FILM[1])
    stamps = _TIMESTAMPS if family_of(config) is QWEN3_5_OMNI else None
    return MediaGeometry(video=PerFrameBounds(bounds), audio=audio_geometry_of(config), timestamps=stamps)


def _longest(tokens: int, geometry: MediaGeometry, *, film: bool) -> int:
    """Whole seconds of audio, or of a film with sound, that take at most `tokens`."""
    short, long = 0, tokens + 1
    while long - short > 1:
        middle = (short + long) // 2
        samples = middle * SAMPLE_RATE_HZ
        frames = max(round(middle * FILM_FPS), 1)
        taken = (
            geometry.video_tokens(frames, FILM_FPS, FILM, samples) if film else geometry.audio_tokens(samples)
        )
        if taken <= tokens:
            short = middle
        else:
            long = middle
    return short


def _advice(plan: MemoryPlan, settings: EngineSettings, context: int, held: int) -> list[str]:
    found = []
    if held < context:
        larger = "--kv-cache-memory-bytes" if not plan.engines[0].gpus else "--gpu-memory-utilization"
        missing = plan.engines[0].pages.request_bytes(context) + plan.engines[0].pages.block_bytes
        found.append(
            f"the Thinker's cache holds {held:,} of {context:,} tokens: raise {larger} to "
            f"{missing / (1 << 30):.2f} GiB, or lower --max-model-len"
        )
    if settings.speech and settings.talker.media_rows < min(context, held) - TEXT_TOKENS:
        found.append(
            f"a spoken answer hears {settings.talker.media_rows:,} tokens of media: raise "
            "--engine.talker.media-rows"
        )
    if settings.speech and plan.streams < settings.talker.streams:
        found.append(f"{plan.streams} of {settings.talker.streams} streams fit: lower --streams")
    return found
