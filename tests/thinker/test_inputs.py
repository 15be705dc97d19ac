"""Requests become prompts for vLLM, or are rejected with the reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from antiphon_executor.interface.errors import InvalidRequest
from antiphon_executor.interface.events import PromptCounted
from antiphon_executor.interface.media import AudioClip, Media, RgbImage, VideoClip
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_executor.interface.request import OmniRequest
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.thinker.inputs import count_prompt, engine_prompt
from antiphon_executor.models.thinker.log_mel import log_mel

TOKENS = PromptIds(4, 5, 6, audio=1, image=2, video=3, tts_pad=7, tts_bos=8, tts_eos=9)
GEOMETRY = MediaGeometry()
CLIP = AudioClip(np.sin(np.arange(16_000, dtype=np.float32)))
PICTURE = RgbImage(np.zeros((8, 6, 3), dtype=np.uint8))
VIDEO = VideoClip(np.zeros((4, 8, 6, 3), dtype=np.uint8), 2.0)


def turn(*ids: int, **media: tuple) -> OmniRequest:
    return OmniRequest("turn", ids, Media(**media))


def silence(seconds: int) -> AudioClip:
    return AudioClip(np.broadcast_to(np.float32(0), seconds * 16_000), "silence")


def test_text_alone_has_no_media() -> None:
    assert engine_prompt(turn(7, 8), TOKENS, GEOMETRY) == {"prompt_token_ids": [7, 8]}


def test_media_go_along_in_order_with_what_belongs_to_them() -> None:
    loud = replace(VIDEO, audio=CLIP, frames_per_second=0.5)
    asked = turn(1, 3, 2, 3, audios=(CLIP,), images=(PICTURE,), videos=(VIDEO, loud))
    prompt = engine_prompt(asked, TOKENS, GEOMETRY)
    media = prompt["multi_modal_data"]
    assert media["image"][0].size == (6, 8)
    assert media["video"][0][1] == {"fps": 2.0}
    assert media["video"][1][1]["fps"] == 0.5
    [window] = media["audio"]
    assert (window.first, window.stop) == (0, 100)
    for sound in (window.clip, media["video"][1][1]["sound"]):
        np.testing.assert_array_equal(sound.mel(128, 0, 100), log_mel(CLIP.samples, 128))


def test_the_tenant_salts_the_prefix_cache() -> None:
    assert engine_prompt(replace(turn(7), cache_salt="tenant"), TOKENS, GEOMETRY)["cache_salt"] == "tenant"


def test_tenants_share_no_features() -> None:
    asked = turn(1, 2, 3, audios=(replace(CLIP, key="file"),), images=(PICTURE,), videos=(VIDEO,))

    def keys(cache_salt: str | None) -> set[str]:
        prompt = engine_prompt(replace(asked, cache_salt=cache_salt), TOKENS, GEOMETRY)
        assert prompt["multi_modal_uuids"].keys() == prompt["multi_modal_data"].keys()
        return {key for found in prompt["multi_modal_uuids"].values() for key in found}

    assert len(keys("alice")) == 3
    assert keys("alice") == keys("alice")
    assert keys(None) == keys(None)
    assert not keys("alice") & keys("bob")
    assert not keys("alice") & keys(None)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (turn(7, audios=(CLIP,)), "0 audio placeholders for 1 audio parts"),
        (turn(2, 2, images=(PICTURE,)), "2 image placeholders for 1 image parts"),
        (turn(1, audios=(AudioClip(CLIP.samples[:399]),)), "too short"),
        (turn(3, videos=(replace(VIDEO, frames=VIDEO.frames[:0]),)), "no frames"),
        (turn(3, videos=(replace(VIDEO, frames_per_second=0.0),)), "frame rate"),
        (turn(3, videos=(replace(VIDEO, frames_per_second=float("nan")),)), "frame rate"),
        (turn(3, videos=(replace(VIDEO, frames_per_second=1e-5),)), "18 hours"),
        (
            turn(3, videos=(replace(VIDEO, audio=silence(1_382)),)),
            "sound of 1382 s; .* may last 1380 s",
        ),
        (turn(2, images=(RgbImage(np.zeros((1, 201, 3), np.uint8)),)), "cannot be looked at"),
    ],
)
def test_what_cannot_be_served_is_refused(request_: OmniRequest, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        engine_prompt(request_, TOKENS, GEOMETRY)


def test_sound_may_last_some_minutes_longer_than_the_pictures() -> None:
    heard = turn(3, videos=(replace(VIDEO, audio=silence(1_380)),))
    assert len(engine_prompt(heard, TOKENS, GEOMETRY)["multi_modal_data"]["video"]) == 1


def test_counts_are_by_kind() -> None:
    assert count_prompt([4, 5, 1, 1, 3, 3, 3, 2, 9], TOKENS, cached=4) == PromptCounted(
        text=3, audio=2, image=1, video=3, cached=4
    )
