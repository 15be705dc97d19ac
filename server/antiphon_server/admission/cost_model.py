"""Cost estimates: what a request takes of the engines' sequences, streams and KV caches."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from antiphon_executor.interface.capacity import CacheCapacity
from antiphon_executor.interface.events import FRAMES_PER_SECOND
from antiphon_executor.interface.media import Media, VideoClip
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.resources import Resources


@dataclass(frozen=True, slots=True)
class RequestSize:
    """`prompt_tokens`: media included. `max_tokens`, `max_frames`: None if the request sets no limit.

    `media_seconds`: audio and video. `heard_seconds`: audio alone, that of videos included.
    """

    prompt_tokens: int = 0
    choices: int = 1
    max_tokens: int | None = None
    max_frames: int | None = None
    media_seconds: float = 0.0
    heard_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SpeechDemand:
    """A request for speech. `live`: a client plays it while it is generated.

    `optional`: if no stream is free when the request could start, it is answered in text.
    """

    live: bool = True
    optional: bool = False


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What a request holds at least, as long as its answer has at most `max_tokens` and `max_frames`."""

    resources: Resources = field(default_factory=Resources)
    max_tokens: float = math.inf
    max_frames: float = math.inf


def estimate_cost(
    size: RequestSize, speech: SpeechDemand | None, capacity: Capacity, tokens: int = 0, frames: int = 0
) -> CostEstimate:
    """The cost of a request whose answer has `tokens` (all choices together) and `frames` so far.

    The estimate covers the prompt and an answer of bounded length. It does not use `max_tokens` alone:
    clients send thousands by habit, and reserving those would leave most of the cache empty. An answer that
    becomes longer is counted as it grows; if the cache is full then, vLLM preempts its newest request.
    Prompts count in full even if a part is in the prefix cache, because those blocks may be evicted.
    No estimate exceeds the total, so that the largest request can still run alone.
    """
    engines = capacity.engines
    answer = max(_least(size.max_tokens, capacity.answer_tokens), math.ceil(tokens / size.choices))
    covered = answer + _spare_tokens(engines.thinker, size.prompt_tokens + answer)
    resources = Resources(
        sequences=min(size.choices, capacity.sequences),
        thinker_blocks=_blocks(engines.thinker, size.prompt_tokens, answer, size.choices),
    )
    if speech is None:
        return CostEstimate(resources, covered * size.choices)
    spoken = max(_least(size.max_frames, math.ceil(capacity.speech_s * FRAMES_PER_SECOND)), frames)
    talker_tokens = spoken * engines.frame_tokens
    covered_talker = talker_tokens + _spare_tokens(engines.talker, size.prompt_tokens + talker_tokens)
    blocks = _blocks(engines.talker, size.prompt_tokens, talker_tokens)
    resources += Resources(streams=1, live=int(speech.live), talker_blocks=blocks)
    return CostEstimate(resources, covered * size.choices, covered_talker // engines.frame_tokens)


def tokens_of(media: Media, geometry: MediaGeometry) -> int:
    """The tokens that media add to a prompt besides their placeholders, as the model counts them."""
    heard = sum(geometry.audio_tokens(clip.num_samples) for clip in media.audios)
    images = sum(geometry.image_tokens(*image.pixels.shape[:2]) for image in media.images)
    return heard + images + sum(_video_tokens(clip, geometry) for clip in media.videos)


def _video_tokens(clip: VideoClip, geometry: MediaGeometry) -> int:
    frames, height, width = clip.frames.shape[:3]
    samples = clip.audio.num_samples if clip.audio else 0
    return geometry.video_tokens(frames, clip.frames_per_second, (height, width), samples)


def heard_seconds(media: Media) -> float:
    """Seconds of audio, the soundtracks of videos included."""
    tracks = (clip.audio.seconds for clip in media.videos if clip.audio)
    return sum(clip.seconds for clip in media.audios) + sum(tracks)


def media_seconds(media: Media) -> float:
    """Seconds of audio and video."""
    videos = sum(len(clip.frames) / clip.frames_per_second for clip in media.videos)
    return videos + sum(clip.seconds for clip in media.audios)


def _least(limit: int | None, bound: int) -> int:
    return bound if limit is None else min(limit, bound)


def _blocks(cache: CacheCapacity | None, prompt: int, answer: int, choices: int = 1) -> int:
    return min(cache.blocks_for(prompt, answer, choices), cache.blocks) if cache is not None else 0


def _spare_tokens(cache: CacheCapacity | None, tokens: int) -> float:
    """How many tokens the last of the blocks for `tokens` still has room for."""
    return math.inf if cache is None else -tokens % cache.block_tokens
