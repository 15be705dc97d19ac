"""The server's estimate of a medium's tokens equals the checkpoint's processor's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen2VLImageProcessor, Qwen2VLVideoProcessor, Qwen3VLVideoProcessor
from vllm.config.multimodal import MultiModalConfig
from vllm.multimodal.processing import InputProcessingContext

from antiphon_executor.checkpoint.processor_geometry import media_geometry_of
from antiphon_executor.interface.media import Media
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_executor.interface.request import OmniRequest
from antiphon_executor.models.qwen3_omni.processor import (
    ThinkerDummyInputs,
    ThinkerProcessingInfo,
    ThinkerProcessor,
)
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.thinker.inputs import engine_prompt
from antiphon_executor.shipped import ANTIPHON_NANO
from antiphon_executor.tiny.processor import tiny_processor
from antiphon_executor.tiny.qwen3_omni_config import tiny_config
from antiphon_executor.tiny.tokenizer import tiny_tokenizer
from antiphon_server.admission.cost_model import tokens_of
from tests.thinker.qwen3_5_rig import Medium, clip, picture, rig, video

SIDES = st.tuples(st.integers(1, 300), st.integers(1, 300)).filter(lambda size: max(size) < 190 * min(size))
SMALL = st.tuples(st.integers(8, 90), st.integers(8, 90))
SOUNDS = st.integers(400, 40_000) | st.sampled_from([16_000, 960_000, 962_400, 2_000_000])
CLIPS = st.builds(clip, SOUNDS)
PICTURES = st.builds(lambda size: picture(*size), SIDES)
RATES = st.sampled_from([0.1, 0.5, 1.0, 2.0, 29.97])
VIDEOS = st.builds(video, st.integers(1, 7), RATES, SMALL, st.none() | st.integers(400, 200_000))
PARTS = st.lists(st.one_of(CLIPS, PICTURES, VIDEOS), max_size=4)


@dataclass(frozen=True)
class Counted:
    """`real`: the tokens of a prompt with the given media, of which each has one placeholder."""

    geometry: MediaGeometry
    template: Callable[..., tuple[list[int], Media]]
    expand: Callable[[tuple[int, ...], Media], list[int]]

    def check(self, *parts: Medium) -> None:
        tokens, media = self.template(*parts)
        assert len(tokens) + tokens_of(media, self.geometry) == len(self.expand(tuple(tokens), media))


def qwen3_5(path: Path, videos: Any = None) -> Counted:
    one = rig(path, videos=videos)
    tokenizer = one.processor.info.get_tokenizer()

    transformers = one.processor.info.get_hf_processor()
    encode = partial(tokenizer.encode, add_special_tokens=False)
    geometry = media_geometry_of(one.config, transformers, encode)

    def expand(tokens: tuple[int, ...], media: Media) -> list[int]:
        prompt = engine_prompt(OmniRequest("turn", tokens, media), one.ids, geometry)
        items = one.processor.info.parse_mm_data(prompt.get("multi_modal_data", {}))
        keys = prompt.get("multi_modal_uuids")
        return list(one.processor(prompt["prompt_token_ids"], items, keys)["prompt_token_ids"])

    return Counted(geometry, one.template, expand)


def qwen3_omni(path: Path) -> Counted:
    tokenizer = tiny_tokenizer()
    tiny_processor(tokenizer, 30).save_pretrained(path)
    config = tiny_config(tokenizer.get_vocab())
    media_config = MultiModalConfig(limit_per_prompt=dict.fromkeys(("audio", "image", "video"), 64))
    model = SimpleNamespace(
        hf_config=config,
        model=str(path),
        max_model_len=4096,
        revision=None,
        code_revision=None,
        trust_remote_code=False,
        dtype=torch.float32,
        multimodal_config=media_config,
        get_multimodal_config=lambda: media_config,
    )
    info = ThinkerProcessingInfo(InputProcessingContext(model, tokenizer))
    processor, ids = ThinkerProcessor(info, ThinkerDummyInputs(info)), PromptIds.of(config)

    encode = partial(tokenizer.encode, add_special_tokens=False)
    geometry = media_geometry_of(config, info.get_hf_processor(), encode)

    def expand(tokens: tuple[int, ...], media: Media) -> list[int]:
        prompt = engine_prompt(OmniRequest("turn", tokens, media), ids, geometry)
        items = info.parse_mm_data(prompt.get("multi_modal_data", {}))
        keys = prompt.get("multi_modal_uuids")
        return list(processor(prompt["prompt_token_ids"], items, keys)["prompt_token_ids"])

    return Counted(geometry, rig(path / "other").template, expand)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counted]:
    """Both families, and the second with every rule for frames that a checkpoint may come with."""
    sizes = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
    pixels = {"shortest_edge": 4 * 32 * 32, "longest_edge": 24 * 32 * 32}

    def folder() -> Path:
        return tmp_path_factory.mktemp("processor")

    def frames(kind: Any, **more: Any) -> Counted:
        return qwen3_5(folder(), kind(**sizes, size=pixels, do_sample_frames=False, **more))

    return {
        "qwen3-omni": qwen3_omni(folder()),
        "qwen3.5-omni": qwen3_5(folder()),
        "each frame, capped": frames(Qwen2VLVideoProcessor, cap_pixels_per_frame=True, max_video_tokens=40),
        "whole video": frames(Qwen3VLVideoProcessor),
        "whole video, capped": frames(Qwen3VLVideoProcessor, cap_pixels_per_frame=True, max_video_tokens=3),
    }


KINDS = ("qwen3-omni", "qwen3.5-omni", "each frame, capped", "whole video", "whole video, capped")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(parts=PARTS)
def test_the_server_counts_any_media_as_the_processor_does(
    tiny: dict[str, Counted], kind: str, parts: list[Medium]
) -> None:
    tiny[kind].check(*parts)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_long_media_are_counted_as_well(tiny: dict[str, Counted], kind: str) -> None:
    """Timestamps of one, two, three and four digits; more frames than a patch, an odd number of them."""
    tiny[kind].check(clip(16_000 * 1_300), video(31, 0.025, (20, 30), sound=16_000 * 1_241))


def test_a_photograph_is_the_few_tokens_that_the_embedded_model_makes_of_it() -> None:
    """4000 x 3000 pixels, at one token per 32 x 32 pixels, would be 11,719."""
    given_size = json.loads((ANTIPHON_NANO / "processor_config.json").read_text())["image_processor"]
    nano = Qwen2VLImageProcessor(**given_size)
    photograph = np.full((3_000, 4_000, 3), 128, np.uint8)
    grid = nano(images=[photograph], return_tensors="pt")["image_grid_thw"][0]
    assert _picture_tokens(nano, 3_000, 4_000) == int(grid.prod()) // 4 < 50


def _picture_tokens(nano: Qwen2VLImageProcessor, height: int, width: int) -> int:
    processor = SimpleNamespace(
        image_processor=nano, video_processor=Qwen2VLVideoProcessor(patch_size=16, size=dict(nano.size))
    )
    tokenizer = tiny_tokenizer()
    config = tiny_config(tokenizer.get_vocab())
    geometry = media_geometry_of(config, processor, tokenizer.encode)
    return geometry.image_tokens(height, width) + 1
