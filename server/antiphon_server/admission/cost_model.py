"""What a turn takes of the engines' caches, before an engine has seen it and while it grows.

In: how large the turn is, what the caches hold. Out: a `Price`. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from antiphon_executor.interface.capacity import CacheCapacity
from antiphon_executor.interface.events import FRAMES_PER_SECOND
from antiphon_executor.interface.media import Media, VideoClip
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_server.admission.capacity import Capacity, Price


@dataclass(frozen=True, slots=True)
class RequestSize:
    """`prompt_tokens`: with media. `max_tokens`, `max_frames`: None where the request says nothing.

    `media_seconds`: of sound and video; `heard_seconds`: of sound alone. `written`, `frames`: of the answer,
    so far, all choices together.
    """

    prompt_tokens: int = 0
    choices: int = 1
    max_tokens: int | None = None
    max_frames: int | None = None
    media_seconds: float = 0.0
    heard_seconds: float = 0.0
    written: int = 0
    frames: int = 0


def price(size: RequestSize, speaks: bool, live: bool, capacity: Capacity) -> Price:
    """What the turn holds at least. Never more than there is: the largest turn waits until it is alone.

    Reserved is the prompt and a bounded answer, not `max_tokens`: clients send thousands by habit and get a
    few hundred, so the worst case would leave most of the cache empty. What an answer takes beyond it counts
    as it is written: nobody starts on it, and should the cache run out all the same, vLLM puts its newest
    request back and computes it again. Prompts are counted whole, though some of one may be cached: its
    blocks may be another's to lose.
    """
    engines = capacity.engines
    answer = max(_least(size.max_tokens, capacity.answer_tokens), math.ceil(size.written / size.choices))
    frames = max(_least(size.max_frames, math.ceil(capacity.speech_s * FRAMES_PER_SECOND)), size.frames)
    return Price(
        sequences=min(size.choices, capacity.sequences),
        thinker_blocks=_blocks(engines.thinker, size.prompt_tokens, answer, size.choices),
        streams=int(speaks),
        live=int(speaks and live),
        talker_blocks=_blocks(engines.talker, size.prompt_tokens, frames * engines.frame_tokens)
        if speaks
        else 0,
    )


def tokens_of(media: Media, geometry: MediaGeometry) -> int:
    """The tokens that media add to a prompt with their placeholders, by the model's own arithmetic."""
    heard = sum(geometry.sound_tokens(len(clip.samples)) for clip in media.audios)
    pictures = sum(geometry.picture_tokens(*picture.pixels.shape[:2]) for picture in media.pictures)
    return heard + pictures + sum(_video_tokens(clip, geometry) for clip in media.videos)


def _video_tokens(clip: VideoClip, geometry: MediaGeometry) -> int:
    frames, height, width = clip.frames.shape[:3]
    samples = len(clip.sound.samples) if clip.sound else 0
    return geometry.video_tokens(frames, clip.frames_per_second, (height, width), samples)


def heard_seconds(media: Media) -> float:
    """Sound of a turn, that of its videos included."""
    sounds = (clip.sound.seconds for clip in media.videos if clip.sound)
    return sum(clip.seconds for clip in media.audios) + sum(sounds)


def media_seconds(media: Media) -> float:
    """Sound and video of a turn."""
    videos = sum(len(clip.frames) / clip.frames_per_second for clip in media.videos)
    return videos + sum(clip.seconds for clip in media.audios)


def _least(limit: int | None, bound: int) -> int:
    return bound if limit is None else min(limit, bound)


def _blocks(cache: CacheCapacity | None, prompt: int, answer: int, choices: int = 1) -> int:
    return min(cache.blocks_for(prompt, answer, choices), cache.blocks) if cache is not None else 0
