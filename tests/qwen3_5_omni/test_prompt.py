"""Media stand in a prompt with timestamps of absolute time, and positions of 160 ms between them."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeModel
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

from antiphon_executor.interface.audio_geometry import AudioGeometry
from antiphon_executor.models.qwen3_5_omni.presets import published
from antiphon_executor.models.qwen3_5_omni.prompt import (
    Expanded,
    Medium,
    Picture,
    PromptRules,
    Sound,
    Video,
    patch_times_s,
)

THINKER = published().thinker_config
AUDIO, A_START, A_END = THINKER.audio_token_id, THINKER.audio_start_token_id, THINKER.audio_end_token_id
IMAGE, VIDEO = THINKER.image_token_id, THINKER.video_token_id
V_START, V_END = THINKER.vision_start_token_id, THINKER.vision_end_token_id
NAMES = {AUDIO: "a", A_START: "(", A_END: ")", IMAGE: "i", VIDEO: "v", V_START: "[", V_END: "]"}
RULES = PromptRules(THINKER, lambda text: [ord(character) for character in text])


def expand(*parts: int | Medium) -> Expanded:
    """Media stand for their placeholders with what encloses them."""
    template: list[int] = []
    for part in parts:
        if isinstance(part, Sound):
            template += [A_START, AUDIO, A_END]
        elif isinstance(part, Picture):
            template += [V_START, IMAGE, V_END]
        elif isinstance(part, Video):
            template += [V_START, VIDEO, V_END]
        else:
            template.append(part)
    return RULES.expand(template, [part for part in parts if not isinstance(part, int)])


def told(expanded: Expanded) -> str:
    return "".join(NAMES.get(int(token), chr(min(int(token), 255))) for token in expanded.token_ids)


def test_a_second_of_sound_is_seven_tokens_on_positions_of_160_ms() -> None:
    expanded = expand(33, Sound(250), 34)
    assert told(expanded) == "!(" + "a" * 18 + ')"'
    steps = [0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 11, 12, 12, 13, 14, 15]
    assert expanded.positions[0].tolist() == [0, 1, *[2 + step for step in steps], 18, 19]
    assert (expanded.positions == expanded.positions[0]).all()


@pytest.mark.parametrize(("frames", "timestamps"), [(100, 0), (6_000, 0), (6_001, 1), (120_000, 19)])
def test_long_sound_has_a_timestamp_each_minute(frames: int, timestamps: int) -> None:
    text = told(expand(Sound(frames)))
    assert re.findall(r"<(.*?) seconds>", text) == [f"{60 * n}.0" for n in range(1, timestamps + 1)]
    assert text.count("a") == AudioGeometry().tokens(frames)
    assert timestamps == 0 or text.startswith("(" + "a" * 420 + "<60.0 seconds>a")


def test_every_video_patch_follows_its_timestamp() -> None:
    expanded = expand(Video(5, 0.5, (1, 2)))
    assert told(expanded) == "<1.0 seconds>[vv]<5.0 seconds>[vv]<8.0 seconds>[vv]"


def test_the_sound_of_a_video_stands_behind_the_patch_of_its_time() -> None:
    expanded = expand(Video(4, 2.0, (1, 2), sound_frames=250))
    assert told(expanded) == "<0.2 seconds>[vv](aaaaaaa)<1.2 seconds>[vv](aaaaaaaaaaa)"
    assert told(expand(Video(4, 2.0, (1, 2), 100))) == "<0.2 seconds>[vv](aaaaaaa)<1.2 seconds>[vv]"


@given(st.integers(1, 40), st.sampled_from([0.5, 1.0, 2.0, 4.0, 29.97]), st.integers(0, 3_000))
def test_no_sound_of_a_video_is_lost(frames: int, fps: float, sound: int) -> None:
    text = re.sub(r"<.*?>", "", told(expand(Video(frames, fps, (1, 1), sound))))
    assert text.count("a") == AudioGeometry().tokens(sound)
    assert text.count("v") == -(-frames // 2)
    assert re.fullmatch(r"(\[v\](\(a+\))?)+", text)


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
@pytest.mark.parametrize("fps", [0.5, 1.0, 2.0, 24.0])
def test_timestamps_are_those_of_transformers(frames: int, fps: float) -> None:
    expected = Qwen3VLProcessor._calculate_timestamps(None, list(range(frames)), fps, 2)
    assert patch_times_s(frames, fps, 2) == expected


def test_positions_of_pictures_and_videos_are_those_of_transformers() -> None:
    expanded = expand(33, Picture((3, 5)), 34, Video(5, 1.0, (4, 2)), 35, 36, Picture((1, 1)), 37)
    kinds = np.where(expanded.token_ids == IMAGE, 1, np.where(expanded.token_ids == VIDEO, 2, 0))
    oracle = SimpleNamespace(
        config=SimpleNamespace(vision_config=THINKER.vision_config),
        get_vision_position_ids=lambda *args, **kwargs: Qwen3_5MoeModel.get_vision_position_ids(
            None, *args, **kwargs
        ),
    )
    positions, _ = Qwen3_5MoeModel.get_rope_index(
        oracle,
        torch.as_tensor(expanded.token_ids)[None],
        torch.as_tensor(kinds)[None],
        image_grid_thw=torch.tensor([[1, 6, 10], [1, 2, 2]]),
        video_grid_thw=torch.tensor([[3, 8, 4]]),
    )
    assert expanded.positions.tolist() == positions[:, 0].tolist()


WRONG: dict[str, tuple[list[int], list[Medium]]] = {
    "more media than placeholders": ([33], [Sound(10)]),
    "does not stand for None": ([AUDIO], []),
    "does not stand for Sound": ([IMAGE], [Sound(10)]),
    "between vision start and end": ([VIDEO], [Video(2, 1.0, (1, 1))]),
}


@pytest.mark.parametrize("message", WRONG)
def test_placeholders_and_media_must_match(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RULES.expand(*WRONG[message])
