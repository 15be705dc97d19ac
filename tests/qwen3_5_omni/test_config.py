"""The configuration has the public sizes as defaults, and accepts any other size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, PreTrainedConfig

from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig, register
from antiphon_executor.models.qwen3_5_omni.memory import kv_bytes_per_token, state_bytes
from antiphon_executor.models.qwen3_5_omni.presets import nano, published
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_executor.tiny.tokenizer import tiny_tokenizer
from tests.reference.mini import DENSE, mini_config

KIB, GIB = 1 << 10, 1 << 30


def millions(module: torch.nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def on_meta(config: Qwen3_5OmniMoeConfig) -> Qwen3_5OmniMoeForConditionalGeneration:
    with torch.device("meta"):
        return Qwen3_5OmniMoeForConditionalGeneration(config)


def test_defaults_are_the_public_figures() -> None:
    config = published()
    text = config.thinker_config.text_config
    assert (text.hidden_size, text.num_hidden_layers, text.vocab_size) == (2048, 40, 248_320)
    assert text.layer_types == (["linear_attention"] * 3 + ["full_attention"]) * 10
    assert (text.num_attention_heads, text.num_key_value_heads, text.head_dim) == (16, 2, 256)
    assert (text.linear_num_key_heads, text.linear_num_value_heads, text.linear_key_head_dim) == (16, 32, 128)
    assert (text.num_experts, text.num_experts_per_tok, text.moe_intermediate_size) == (256, 8, 512)
    assert (text.shared_expert_intermediate_size, text.linear_conv_kernel_dim) == (512, 4)
    assert text.rope_parameters["partial_rotary_factor"] == 0.25
    assert text.max_position_embeddings == 262_144
    talker = config.talker_config
    assert talker.text_config.layer_types == (["linear_attention"] * 3 + ["full_attention"]) * 5
    assert (talker.text_config.hidden_size, talker.text_config.max_position_embeddings) == (1280, 65_536)
    assert (talker.text_config.num_experts, talker.text_config.num_experts_per_tok) == (128, 8)
    assert (talker.codec_vocab_size, talker.suppressed_codes, talker.num_code_groups) == (5120, 3072, 16)
    assert talker.code_predictor_config.vocab_size == config.code2wav_config.codebook_size == 2048
    assert config.thinker_config.position_id_per_seconds * 0.16 == 1
    audio = config.thinker_config.audio_config
    assert (audio.num_mel_bins, audio.downsample_times, 2 * audio.n_window) == (128, 4, 100)
    vision = config.thinker_config.vision_config
    assert vision.patch_size * vision.spatial_merge_size == 32
    assert vision.temporal_patch_size == 2


def test_the_published_sizes_build_and_count_as_the_open_model_is_named() -> None:
    model = on_meta(published())
    text = millions(model.thinker.model) + millions(model.thinker.lm_head)
    assert text == pytest.approx(34_661, abs=1)
    experts = 40 * 256 * 3 * 2048 * 512 / 1e6
    assert text - experts * (1 - 8 / 256) == pytest.approx(3_455, abs=1)
    assert model.talker.model.embed_tokens.weight.shape == (248_320, 1280)
    assert model.talker.hidden_projection.weight.shape == (1280, 2048)


def test_keys_and_values_of_the_published_sizes_take_20_kib_a_token() -> None:
    text = published().thinker_config.text_config
    assert kv_bytes_per_token(text, element_bytes=2) == 20 * KIB
    assert kv_bytes_per_token(text, element_bytes=2) * 262_144 == 5 * GIB
    assert state_bytes(text, element_bytes=2) == 30 * (32 * 128 * 128 * 4 + 3 * 8192 * 2)


def test_nano_is_of_the_family_and_about_21_million_parameters() -> None:
    model = on_meta(nano(tiny_tokenizer().get_vocab()))
    sizes = [model.thinker, model.talker, model.code2wav]
    assert [round(millions(part)) for part in sizes] == [11, 8, 3]
    assert model.config.thinker_config.text_config.layer_types.count("full_attention") == 2


CONFIGS: dict[str, Callable[[], Qwen3_5OmniMoeConfig]] = {
    "published": published,
    "nano": lambda: nano(tiny_tokenizer().get_vocab()),
    "dense Talker": lambda: mini_config(DENSE),
}


def written(config: Qwen3_5OmniMoeConfig) -> dict[str, Any]:
    everything = json.loads(config.to_json_string(use_diff=False))
    return {key: value for key, value in everything.items() if key != "_name_or_path"}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_saved_config_is_loaded_as_it_was(name: str, tmp_path: Path) -> None:
    config = CONFIGS[name]()
    config.save_pretrained(tmp_path)
    register()
    for loaded in (AutoConfig.from_pretrained(tmp_path), Qwen3_5OmniMoeConfig.from_pretrained(tmp_path)):
        assert type(loaded) is Qwen3_5OmniMoeConfig
        assert type(loaded.talker_config.text_config) is type(config.talker_config.text_config)
        assert written(loaded) == written(config)


WRONG: dict[str, dict[str, dict[str, object]]] = {
    "Thinker has": {"talker_config": {"thinker_hidden_size": 7}},
    "code groups": {"code2wav_config": {"num_quantizers": 3}},
    "no layer 41": {"talker_config": {"accept_hidden_layer": 41}},
    "text model's width": {"thinker_config": {"vision_config": {"out_hidden_size": 8}}},
    "its code predictor differ": {"talker_config": {"code_predictor_config": {"num_code_groups": 3}}},
    "leaves no codes": {"talker_config": {"suppressed_codes": 5120}},
}


@pytest.mark.parametrize("message", WRONG)
def test_sizes_that_do_not_fit_together_are_refused(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Qwen3_5OmniMoeConfig(**WRONG[message])


def test_the_text_config_is_the_thinkers() -> None:
    config: PreTrainedConfig = published()
    assert config.get_text_config() is config.thinker_config.text_config
