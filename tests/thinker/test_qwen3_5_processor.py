"""vLLM's Qwen3.5-Omni prompts follow the rules, and items do not depend on each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize
from vllm.multimodal.cache import MultiModalProcessorOnlyCache

from antiphon_executor.interface.audio_geometry import AudioGeometry, mel_frames
from antiphon_executor.interface.media import AudioClip, RgbImage, VideoClip
from antiphon_executor.models.qwen3_5_omni import prompt as rules
from antiphon_executor.models.qwen3_5_omni.tm_rope import MediaSpan, TmRope
from antiphon_executor.models.thinker.inputs import count_prompt
from tests.thinker.qwen3_5_rig import Medium, Rig, clip, picture, rig, video

SIDES = st.tuples(st.integers(1, 90), st.integers(1, 90))
SOUNDS = st.one_of(st.sampled_from([400, 16_000]), st.integers(400, 40_000))
CLIPS = st.builds(clip, st.one_of(SOUNDS, st.sampled_from([960_000, 962_400, 1_930_000])), st.integers(0, 2))
PICTURES = st.builds(lambda size, seed: picture(*size, seed), SIDES, st.integers(0, 2))
VIDEOS = st.builds(
    video, st.integers(1, 7), st.sampled_from([0.5, 1.0, 2.0, 29.97]), SIDES, st.none() | SOUNDS
)
PARTS = st.lists(st.one_of(st.integers(33, 90), CLIPS, PICTURES, VIDEOS), max_size=7)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return rig(tmp_path_factory.mktemp("processor"))


def medium(part: Medium) -> rules.Medium:
    """What the rules need to know of it, by the formulae alone."""
    if isinstance(part, AudioClip):
        return rules.Sound(mel_frames(len(part.samples)))
    if isinstance(part, RgbImage):
        return rules.Picture(grid(*part.pixels.shape[:2]))
    sound = mel_frames(len(part.audio.samples)) if part.audio else 0
    return rules.Video(len(part.frames), part.frames_per_second, grid(*part.frames.shape[1:3]), sound)


def grid(height: int, width: int) -> tuple[int, int]:
    height, width = smart_resize(height, width, factor=32, min_pixels=4 * 32 * 32, max_pixels=128 * 128)
    return height // 32, width // 32


def items(output: Any, kind: str) -> list[dict[str, torch.Tensor]]:
    return [{name: field.data for name, field in item.items()} for item in output["mm_kwargs"][kind]]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=PARTS)
def test_any_mix_of_media_expands_as_the_rules_say(tiny: Rig, parts: list[int | Medium]) -> None:
    template, _ = tiny.template(*parts)
    media = [part for part in parts if not isinstance(part, int)]
    expected = tiny.rules.expand(template, map(medium, media))

    output = tiny.process(*parts)

    assert output["prompt_token_ids"] == expected.token_ids.tolist()
    assert marked(output).tolist() == tiny.ids.is_media(expected.token_ids).tolist()
    positions = TmRope(tiny.config.thinker_config).positions(expected.token_ids, spans(output))
    assert positions.tolist() == expected.positions.tolist()


def spans(output: Any) -> Iterator[MediaSpan]:
    """Where the media lie, and the grids that their positions need: out of the items alone."""
    for kind, places in output["mm_placeholders"].items():
        for place, item in zip(places, items(output, kind), strict=True):
            patches = item.get("image_grid_thw", item.get("video_grid_thw", torch.zeros(3))).tolist()
            yield MediaSpan(place.offset, place.length, (int(patches[1]) // 2, int(patches[2]) // 2))


def marked(output: Any) -> np.ndarray:
    """Where embeddings will be laid into the prompt; an item's are as many as its features give rows."""
    rows = np.zeros(len(output["prompt_token_ids"]), dtype=bool)
    for kind, places in output["mm_placeholders"].items():
        for place, item in zip(places, items(output, kind), strict=True):
            marks = place.is_embed.numpy()
            assert not rows[place.offset : place.offset + place.length].any()
            rows[place.offset : place.offset + place.length] = marks
            assert marks.sum() == rows_of(kind, item)
            if kind == "video":
                assert len(item["sound_mask"]) == marks.sum()
    return rows


def rows_of(kind: str, item: dict[str, torch.Tensor]) -> int:
    """How many embeddings the encoders make of an item."""
    sound = AudioGeometry()
    if kind == "audio":
        return sound.tokens(item["input_audio_features"].shape[1])
    if kind == "image":
        return len(item["pixel_values"]) // 4
    return len(item["pixel_values_videos"]) // 4 + sound.tokens(item["sound_features"].shape[1])


def test_a_videos_mask_follows_the_kinds_of_its_tokens(tiny: Rig) -> None:
    output = tiny.process(40, video(5, 0.5, sound=150_000), 41, video(2, 1.0), video(1, 1.0, sound=400))
    prompt = np.array(output["prompt_token_ids"])
    for place, item in zip(output["mm_placeholders"]["video"], items(output, "video"), strict=True):
        tokens = prompt[place.offset : place.offset + place.length][place.is_embed.numpy()]
        assert (tokens == tiny.ids.audio).tolist() == item["sound_mask"].tolist()
    assert [int(item["sound_mask"].sum()) for item in items(output, "video")] == [66, 0, 1]


def test_usage_counts_every_kind_by_its_formula(tiny: Rig) -> None:
    output = tiny.process(
        50, clip(16_000 * 65), picture(64, 96), 51, video(60, 1.0, (64, 64), sound=16_000 * 60)
    )
    counts = count_prompt(output["prompt_token_ids"], tiny.ids, cached=0)
    assert (counts.audio, counts.image, counts.video) == (7 * 65 + 7 * 60, 6, 30 * 4)
    assert counts.total == len(output["prompt_token_ids"])


def test_twenty_minutes_of_sound_are_ten_items_of_two_minutes(tiny: Rig) -> None:
    output = tiny.process(50, clip(16_000 * 1_200), 51)
    places = output["mm_placeholders"]["audio"]
    assert [int(place.is_embed.sum()) for place in places] == [7 * 120] * 10
    assert count_prompt(output["prompt_token_ids"], tiny.ids, cached=0).audio == 8_400


def test_an_item_is_the_same_alone_and_in_company(tiny: Rig) -> None:
    parts = [
        clip(400, 1),
        clip(30_000, 2),
        picture(50, 70, 1),
        picture(70, 50, 2),
        video(3, 1.0, sound=9_000),
    ]
    together = tiny.process(*parts, video(4, 2.0))
    for kind, index, part in zip(
        ("audio", "audio", "image", "image", "video"), (0, 1, 0, 1, 0), parts, strict=True
    ):
        assert same(items(tiny.process(part), kind)[0], items(together, kind)[index])


def test_a_cached_item_is_right_in_a_new_prompt(tiny: Rig) -> None:
    cache = MultiModalProcessorOnlyCache(tiny.processor.info.ctx.model_config)
    shown, sound, still = video(3, 1.0, sound=30_000), clip(1_000_000), picture(40, 70)
    tiny.process(shown, 40, sound, cache=cache)
    before = cache.make_stats()

    parts = (41, still, sound, 42, clip(8_000), video(2, 1.0), shown)
    again = tiny.process(*parts, cache=cache)

    after, fresh = cache.make_stats(), tiny.process(*parts)
    assert after.hits - before.hits == 2
    assert again["prompt_token_ids"] == fresh["prompt_token_ids"]
    assert again["mm_hashes"] == fresh["mm_hashes"]
    for kind in ("audio", "image", "video"):
        assert all(map(same, items(again, kind), items(fresh, kind)))
        for one, other in zip(again["mm_placeholders"][kind], fresh["mm_placeholders"][kind], strict=True):
            assert (one.offset, one.length) == (other.offset, other.length)
            assert torch.equal(one.is_embed, other.is_embed)


@pytest.mark.parametrize(
    "other",
    [
        VideoClip(video(3, 1.0).frames, 2.0),
        VideoClip(video(3, 1.0).frames, 1.0, clip(9_000)),
        VideoClip(video(3, 1.0).frames, 1.0, clip(9_000, 1)),
        video(3, 1.0, seed=1),
    ],
)
def test_a_video_at_another_rate_or_with_another_sound_is_another_item(tiny: Rig, other: VideoClip) -> None:
    known = [tiny.process(video(3, 1.0)), tiny.process(VideoClip(video(3, 1.0).frames, 1.0, clip(9_001)))]
    assert tiny.process(other)["mm_hashes"]["video"][0] not in [one["mm_hashes"]["video"][0] for one in known]


def test_the_trial_run_is_small_whatever_the_context(tiny: Rig) -> None:
    counts = dict.fromkeys(("audio", "image", "video"), 1)
    # 121 s of sound at 7 tokens for each second; 16,384 pixels at 1,024 for each token; an encoder cache of
    # frames, and the sound beside them.
    most = {"audio": 121 * 7, "image": 16, "video": 4 * 2_048 + 121 * 7}
    assert tiny.processor.info.get_mm_max_tokens_per_item(262_144, counts) == most
    trial = tiny.processor.get_dummy_mm_inputs(counts)
    assert [len(trial["mm_placeholders"][kind]) for kind in counts] == [1, 1, 1]
    assert sum(rows_of(kind, items(trial, kind)[0]) for kind in counts) < 1_000


def test_text_alone_stays_as_it_is(tiny: Rig) -> None:
    output = tiny.process(40, 41, 42)
    assert output["prompt_token_ids"] == [40, 41, 42]
    assert not output["mm_placeholders"]
