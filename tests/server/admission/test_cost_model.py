"""Cost estimates: the prompt, an answer of bounded length, and what a longer answer takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.interface.capacity import CacheCapacity, EngineCapacity
from antiphon_executor.interface.media import AudioClip, Media, RgbImage, VideoClip
from antiphon_executor.interface.media_geometry import MediaGeometry, PixelBounds
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.cost_model import (
    RequestSize,
    estimate_cost,
    heard_seconds,
    media_seconds,
    tokens_of,
)
from antiphon_server.admission.resources import Resources
from tests.server.admission.admitting import BATCH, LIVE

CACHE = CacheCapacity(blocks=100, block_tokens=16)
CAPACITY = Capacity(
    8, 4, 8, 100, 30, 1 << 20, answer_tokens=64, speech_s=8.0, engines=EngineCapacity(CACHE, CACHE, 2)
)


def text(tokens: int = 0, **size: int) -> Resources:
    return estimate_cost(RequestSize(**size), None, CAPACITY, tokens).resources


def test_an_answer_is_estimated_by_max_tokens_up_to_a_bound() -> None:
    assert text(prompt_tokens=32, max_tokens=16).thinker_blocks == 3
    assert text(prompt_tokens=32, max_tokens=100_000).thinker_blocks == 2 + 4
    assert text(prompt_tokens=32).thinker_blocks == 2 + 4


def test_tokens_beyond_the_estimate_count() -> None:
    assert text(prompt_tokens=32, tokens=64).thinker_blocks == 6
    assert text(prompt_tokens=32, tokens=65).thinker_blocks == 7


def test_each_choice_has_its_own_answer() -> None:
    assert text(prompt_tokens=33, choices=3).thinker_blocks == 2 + 3 * 5
    assert text(prompt_tokens=33, choices=3, tokens=3 * 80).thinker_blocks == 2 + 3 * 6
    assert text(prompt_tokens=33, choices=3).sequences == 3


@given(st.integers(0, 400), st.integers(1, 3), st.integers(0, 300), st.integers(0, 300))
def test_an_estimate_holds_up_to_its_own_limits_and_not_beyond(
    prompt: int, choices: int, tokens: int, frames: int
) -> None:
    size = RequestSize(prompt, choices)
    large = replace(
        CAPACITY, engines=EngineCapacity(replace(CACHE, blocks=9_999), replace(CACHE, blocks=9_999), 2)
    )

    def resources(tokens: float, frames: float) -> Resources:
        return estimate_cost(size, LIVE, large, int(tokens), int(frames)).resources

    estimate = estimate_cost(size, LIVE, large, tokens, frames)
    assert resources(estimate.max_tokens, estimate.max_frames) == estimate.resources
    assert resources(estimate.max_tokens + 1, frames).thinker_blocks > estimate.resources.thinker_blocks
    assert resources(tokens, estimate.max_frames + 1).talker_blocks > estimate.resources.talker_blocks


def test_no_estimate_exceeds_the_total() -> None:
    assert text(prompt_tokens=1_000_000, choices=20) == Resources(sequences=8, thinker_blocks=100)


def test_speech_takes_a_stream_and_blocks_for_its_frames() -> None:
    """8 s are 100 frames, two tokens each."""
    spoken = estimate_cost(RequestSize(prompt_tokens=32), LIVE, CAPACITY).resources
    assert (spoken.streams, spoken.live, spoken.talker_blocks) == (1, 1, (32 + 200) // 16 + 1)
    unheard = estimate_cost(RequestSize(prompt_tokens=32, max_frames=4), BATCH, CAPACITY).resources
    assert (unheard.live, unheard.talker_blocks) == (0, 3)
    assert spoken.speech_part == Resources(streams=1, live=1, talker_blocks=15)


def test_caches_of_unknown_size_cost_nothing() -> None:
    free = estimate_cost(RequestSize(9_999), LIVE, Capacity(8, 4, 8, 100, 30, 1)).resources
    assert free == Resources(sequences=1, streams=1, live=1)


def test_a_picture_is_counted_at_the_size_that_the_model_resizes_it_to() -> None:
    """Tiny bounds, as antiphon-nano has them: a picture of 4000 x 3000 is 36 tokens at most."""
    geometry = MediaGeometry(image=PixelBounds(32, 9_216, 36_864))
    photograph = RgbImage(np.broadcast_to(np.uint8(0), (3_000, 4_000, 3)))
    # 160 x 192 pixels: 5 x 6 tokens, one of which is the placeholder.
    assert tokens_of(Media(images=(photograph,)), geometry) == 5 * 6 - 1


def test_media_of_several_kinds_are_counted_together() -> None:
    second = AudioClip(np.zeros(16_000, np.float32))
    film = VideoClip(np.zeros((5, 64, 96, 3), np.uint8), 2.0, second)
    media = Media((second,), (RgbImage(np.zeros((64, 64, 3), np.uint8)),), (film,))
    # Each without its placeholder. A video's audio has a begin and an end token.
    assert tokens_of(media, MediaGeometry()) == (13 - 1) + (4 - 1) + (3 * 6 + 13 + 2 - 1)
    assert heard_seconds(media) == 2.0
    assert media_seconds(media) == 3.5
