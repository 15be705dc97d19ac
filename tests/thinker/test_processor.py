"""Qwen3-Omni's processor without an engine: cases that the parity tests do not cover."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from vllm.config.multimodal import MultiModalConfig
from vllm.multimodal.processing import InputProcessingContext

from antiphon_executor.models.qwen3_omni.processor import (
    ThinkerDummyInputs,
    ThinkerProcessingInfo,
    ThinkerProcessor,
)
from antiphon_executor.tiny.processor import tiny_processor
from antiphon_executor.tiny.qwen3_omni_config import tiny_config
from antiphon_executor.tiny.tokenizer import tiny_tokenizer
from tests.thinker.qwen3_5_rig import video


@pytest.mark.parametrize(("size", "wide"), [((3, 96), True), ((96, 3), False), ((1, 96), True)])
def test_a_video_of_three_pixels_is_not_taken_for_channels(
    tmp_path: Path, size: tuple[int, int], wide: bool
) -> None:
    tokenizer = tiny_tokenizer()
    tiny_processor(tokenizer, 30).save_pretrained(tmp_path)
    config, media = tiny_config(tokenizer.get_vocab()), MultiModalConfig()
    model = SimpleNamespace(
        hf_config=config,
        model=str(tmp_path),
        revision=None,
        trust_remote_code=False,
        dtype=torch.float32,
        multimodal_config=media,
        get_multimodal_config=lambda: media,
    )
    info = ThinkerProcessingInfo(InputProcessingContext(model, tokenizer))
    processor = ThinkerProcessor(info, ThinkerDummyInputs(info))

    items = info.parse_mm_data({"video": [(video(4, 1.0, size).frames, {"fps": 1.0})]})
    output = processor([config.thinker_config.video_token_id], items)

    _, height, width = output["mm_kwargs"]["video"][0]["video_grid_thw"].data.tolist()
    assert (width > height) == wide
