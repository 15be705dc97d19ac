"""Qwen3.5-Omni's positions, from the features that its processor makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from vllm.multimodal.inputs import MultiModalFeatureSpec

from antiphon_executor.models.qwen3_5_omni.media_spans import media_spans
from antiphon_executor.models.qwen3_5_omni.tm_rope import TmRope
from tests.thinker.qwen3_5_rig import Rig, clip, picture, rig, video
from tests.thinker.test_qwen3_5_processor import medium


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return rig(tmp_path_factory.mktemp("processor"))


def features(output: Any) -> list[MultiModalFeatureSpec]:
    """As vLLM hands them to the model, in no order of the prompt."""
    return [
        MultiModalFeatureSpec(data=item, modality=kind, identifier=kind, mm_position=place)
        for kind, places in output["mm_placeholders"].items()
        for place, item in zip(places, output["mm_kwargs"][kind], strict=True)
    ]


def test_positions_are_those_of_the_rules(tiny: Rig) -> None:
    """Given every kind twice, mixed with text, then features and ids say all that positions need."""
    parts = [
        video(5, 2.0, sound=20_000),
        33,
        clip(17_000),
        picture(64, 100),
        34,
        video(3, 0.5),
        clip(962_400),
        picture(30, 30),
    ]
    template, _ = tiny.template(*parts)
    media = [medium(part) for part in parts if not isinstance(part, int)]
    expected = tiny.rules.expand(template, media)
    output = tiny.process(*parts)
    spans = media_spans(features(output), tiny.config.thinker_config)
    positions = TmRope(tiny.config.thinker_config).positions(np.array(output["prompt_token_ids"]), spans)
    np.testing.assert_array_equal(positions, expected.positions)


def test_an_item_without_its_data_is_refused(tiny: Rig) -> None:
    """vLLM drops what a cache holds already: a grid cannot be made up."""
    (feature,) = features(tiny.process(picture(64, 64)))
    feature.data = None
    with pytest.raises(ValueError, match="lost its data"):
        media_spans([feature], tiny.config.thinker_config)
