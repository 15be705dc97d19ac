"""With the same weights the Thinker equals transformers' Qwen3.5, for text, pictures and video."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers.models.qwen3_5_moe.configuration_qwen3_5_moe import Qwen3_5MoeConfig
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import (
    Qwen3_5MoeForCausalLM,
    Qwen3_5MoeForConditionalGeneration,
)

from antiphon_executor.models.qwen3_5_omni.prompt import Medium, Picture, PromptRules, Video
from antiphon_executor.reference.thinker import Thinker, ThinkerPrompt
from tests.reference import mini


@pytest.fixture(scope="module")
def thinker() -> Thinker:
    return mini.mini_model().thinker


def seeing_prompt(thinker: Thinker) -> ThinkerPrompt:
    """Two pictures and two videos without sound."""
    generator = torch.Generator().manual_seed(3)
    grids = [(1, 4, 6), (1, 2, 2), (3, 4, 4), (1, 6, 2)]
    media: list[Medium] = [Picture((2, 3)), Video(5, 2.0, (2, 2)), Picture((1, 1)), Video(2, 1.0, (3, 1))]
    places = [mini.IMAGE, mini.VIDEO, mini.IMAGE, mini.VIDEO]
    template = [30, *(t for place in places for t in (mini.VISION_START, place, mini.VISION_END, 31)), 32]
    expanded = PromptRules(thinker.config, mini.encode).expand(template, media)
    cut = [mini.patches(grid, generator) for grid in grids]
    ids, positions = torch.as_tensor(expanded.token_ids), torch.as_tensor(expanded.positions)
    return ThinkerPrompt(ids, positions, pictures=tuple(cut[:2]), videos=tuple(cut[2:]))


@torch.no_grad()
def test_text_equals_transformers(thinker: Thinker) -> None:
    oracle = Qwen3_5MoeForCausalLM(thinker.config.text_config).eval()
    oracle.model.load_state_dict(thinker.model.state_dict())
    oracle.lm_head.load_state_dict(thinker.lm_head.state_dict())
    ids = torch.randint(mini.DIGITS, mini.VOCAB, (150,), generator=torch.Generator().manual_seed(0))
    expected = oracle(ids[None], output_hidden_states=True)
    output = thinker(ThinkerPrompt(ids, torch.arange(150).expand(3, -1)))
    torch.testing.assert_close(output.logits, expected.logits[0], rtol=1e-5, atol=1e-5)
    assert output.logits.std() > 0.5


@torch.no_grad()
def test_pictures_and_videos_equal_transformers(thinker: Thinker) -> None:
    config = Qwen3_5MoeConfig(
        text_config=thinker.config.text_config.to_dict(),
        vision_config=thinker.config.vision_config.to_dict(),
        image_token_id=mini.IMAGE,
        video_token_id=mini.VIDEO,
        vision_start_token_id=mini.VISION_START,
        vision_end_token_id=mini.VISION_END,
    )
    oracle = Qwen3_5MoeForConditionalGeneration(config).eval()
    oracle.model.language_model.load_state_dict(thinker.model.state_dict())
    oracle.model.visual.load_state_dict(thinker.visual.state_dict())
    oracle.lm_head.load_state_dict(thinker.lm_head.state_dict())
    prompt = seeing_prompt(thinker)
    kinds = torch.where(prompt.token_ids == mini.IMAGE, 1, torch.where(prompt.token_ids == mini.VIDEO, 2, 0))
    expected = oracle(
        input_ids=prompt.token_ids[None],
        attention_mask=torch.ones(1, len(kinds), dtype=torch.int64),
        mm_token_type_ids=kinds[None].int(),
        pixel_values=torch.cat([picture.pixels for picture in prompt.pictures]),
        image_grid_thw=torch.tensor([picture.grid for picture in prompt.pictures]),
        pixel_values_videos=torch.cat([video.pixels for video in prompt.videos]),
        video_grid_thw=torch.tensor([video.grid for video in prompt.videos]),
    ).logits[0]
    torch.testing.assert_close(thinker(prompt).logits, expected, rtol=1e-5, atol=1e-5)
    blind = replace(prompt, videos=tuple(replace(v, pixels=0 * v.pixels) for v in prompt.videos))
    assert not torch.allclose(thinker(blind).logits[-1], expected[-1], atol=1e-3)


@torch.no_grad()
def test_layers_begin_with_the_embeddings_and_hold_each_layers_output(thinker: Thinker) -> None:
    outputs: list[torch.Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _module, _given, out: outputs.append(out[0]))
        for layer in thinker.model.layers
    ]
    prompt = mini.mini_prompt()
    layers = thinker(prompt).layers
    for hook in hooks:
        hook.remove()
    assert len(layers) == 5
    assert torch.equal(layers[0], thinker.embedded(prompt))
    for index in range(3):
        assert torch.equal(layers[index + 1], outputs[index])
    assert torch.equal(layers[4], thinker.model.norm(outputs[3]))


@torch.no_grad()
def test_media_rows_stand_in_their_places(thinker: Thinker) -> None:
    prompt = mini.mini_prompt()
    rows = thinker.embedded(prompt)
    heard = torch.cat([thinker.audio_tower(sound) for sound in prompt.sounds])
    assert torch.equal(rows[prompt.token_ids == mini.AUDIO], heard)
    text = prompt.token_ids >= mini.VISION_END
    assert torch.equal(rows[text], thinker.model.embed_tokens(prompt.token_ids[text]))
    with pytest.raises(ValueError, match="a different number"):
        thinker(replace(prompt, sounds=prompt.sounds[:1]))


def test_the_answer_goes_on_one_position_after_another(thinker: Thinker) -> None:
    prompt = mini.mini_prompt()
    answer = thinker.generate(prompt, max_tokens=6, end=-1)
    assert thinker.generate(prompt, max_tokens=6, end=answer[3]) == answer[: answer.index(answer[3])]
    behind = prompt.positions.max() + 1 + torch.arange(6)
    positions = torch.cat((prompt.positions, behind.expand(3, -1)), dim=1)
    with torch.no_grad():
        rows = torch.cat((thinker.embedded(prompt), thinker.model.embed_tokens(torch.tensor(answer))))
        assert thinker.run(rows, positions).logits[-7:-1].argmax(-1).tolist() == answer
