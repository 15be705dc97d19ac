"""The tiny checkpoint is like the released Qwen3-Omni checkpoint, but small and marked as random."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoTokenizer

from antiphon_executor.tiny import write_tiny_checkpoint
from tests.checkpoints import tiny_qwen3_omni  # noqa: F401

RELEASED_TENSORS = (
    "thinker.model.embed_tokens.weight",
    "thinker.model.layers.0.self_attn.q_norm.weight",
    "thinker.model.layers.0.mlp.experts.0.gate_proj.weight",
    "thinker.model.layers.0.mlp.gate.weight",
    "thinker.lm_head.weight",
    "thinker.audio_tower.layers.0.self_attn.q_proj.weight",
    "thinker.visual.blocks.0.attn.qkv.weight",
    "talker.model.codec_embedding.weight",
    "talker.model.layers.0.mlp.shared_expert.gate_proj.weight",
    "talker.text_projection.linear_fc1.weight",
    "talker.hidden_projection.linear_fc2.weight",
    "talker.codec_head.weight",
    "talker.code_predictor.model.codec_embedding.14.weight",
    "talker.code_predictor.lm_head.14.weight",
    "code2wav.code_embedding.weight",
    "code2wav.decoder.1.block.1.conv.weight",
)


def test_the_same_seed_writes_the_same_bytes(tiny_qwen3_omni: Path, tmp_path: Path) -> None:  # noqa: F811
    write_tiny_checkpoint(tmp_path)
    written = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert written == {file.name: file.read_bytes() for file in tiny_qwen3_omni.iterdir()}


def test_tensors_have_the_released_names(tiny_qwen3_omni: Path) -> None:  # noqa: F811
    with safe_open(tiny_qwen3_omni / "model.safetensors", "pt") as weights:
        assert set(RELEASED_TENSORS) <= set(weights.keys())


def test_the_card_says_that_the_weights_are_random(tiny_qwen3_omni: Path) -> None:  # noqa: F811
    assert json.loads((tiny_qwen3_omni / "antiphon_card.json").read_text())["random_weights"] is True


def test_the_config_has_what_vllm_reads(tiny_qwen3_omni: Path) -> None:  # noqa: F811
    config = json.loads((tiny_qwen3_omni / "config.json").read_text())
    vision = config["thinker_config"]["vision_config"]
    assert (vision["image_size"], vision["apply_vit_abs_pos_embed"]) == (128, True)
    assert config["thinker_config"]["text_config"]["tie_word_embeddings"] is False
    talker = config["talker_config"]
    assert talker["text_config"]["vocab_size"] == talker["code_predictor_config"]["vocab_size"] + 1024
    assert set(talker["speaker_id"]) == {"chelsie", "ethan", "aiden"}


def test_roles_and_control_tokens_are_single_tokens(tiny_qwen3_omni: Path) -> None:  # noqa: F811
    tokenizer = AutoTokenizer.from_pretrained(tiny_qwen3_omni)
    config = json.loads((tiny_qwen3_omni / "config.json").read_text())
    for role in ("system", "user", "assistant"):
        assert tokenizer.encode(f"<|im_start|>{role}\n")[1] == config[f"{role}_token_id"]
    text = "Hear: 北京, naïve\n\n\t42!"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_unknown_family_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no tiny checkpoint of family 'whale'"):
        write_tiny_checkpoint(tmp_path, "whale")


CALL = {"function": {"name": "look", "arguments": {"at": "sky"}}}
RENDERED: list[tuple[list[dict[str, Any]], str]] = [
    (
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    ),
    (
        [
            {
                "role": "user",
                "content": [
                    {"type": "audio", "audio": "a"},
                    {"type": "image", "image": "i"},
                    {"type": "video", "video": "v"},
                    {"type": "text", "text": "What?"},
                ],
            }
        ],
        "<|im_start|>user\n<|audio_start|><|audio_pad|><|audio_end|><|vision_start|><|image_pad|><|vision_end|>"
        "<|vision_start|><|video_pad|><|vision_end|>What?<|im_end|>\n<|im_start|>assistant\n",
    ),
    (
        [
            {"role": "user", "content": "Look"},
            {"role": "assistant", "content": "", "tool_calls": [CALL, CALL]},
            {"role": "tool", "content": "blue"},
            {"role": "tool", "content": "grey"},
        ],
        "<|im_start|>user\nLook<|im_end|>\n<|im_start|>assistant\n"
        '<tool_call>\n{"name": "look", "arguments": {"at": "sky"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "look", "arguments": {"at": "sky"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\nblue\n</tool_response>\n"
        "<tool_response>\ngrey\n</tool_response><|im_end|>\n<|im_start|>assistant\n",
    ),
]


@pytest.mark.parametrize(("messages", "prompt"), RENDERED, ids=("text", "media", "tools"))
def test_conversations_are_rendered_as_chatml(
    tiny_qwen3_omni: Path,  # noqa: F811
    messages: list[dict[str, Any]],
    prompt: str,
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_qwen3_omni)
    assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == prompt


def test_tools_are_described_in_the_system_message(tiny_qwen3_omni: Path) -> None:  # noqa: F811
    tokenizer = AutoTokenizer.from_pretrained(tiny_qwen3_omni)
    tool = {"type": "function", "function": {"name": "look"}}
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tools=[tool], tokenize=False)
    assert prompt.startswith("<|im_start|>system\n# Tools\n\nYou may call one or more functions")
    assert f"<tools>\n{json.dumps(tool)}\n</tools>" in prompt


@pytest.mark.parametrize("variant", ["thinking", "captioner"])
def test_variants_have_no_talker_in_config_and_weights(
    tiny_qwen3_omni: Path,  # noqa: F811
    tmp_path: Path,
    variant: str,
) -> None:
    write_tiny_checkpoint(tmp_path, variant=variant)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["enable_audio_output"] is False
    assert not {"talker_config", "code2wav_config"} & set(config)
    weights = load_file(tmp_path / "model.safetensors")
    instruct = load_file(tiny_qwen3_omni / "model.safetensors")
    assert set(weights) == {name for name in instruct if name.startswith("thinker.")}
    # The same Thinker, so that text answers can be compared.
    assert weights["thinker.lm_head.weight"].equal(instruct["thinker.lm_head.weight"])


def test_prompts_of_the_thinking_variant_open_the_tag(tmp_path: Path) -> None:
    for variant, ends in (("thinking", "<|im_start|>assistant\n<think>\n"), ("captioner", "assistant\n")):
        write_tiny_checkpoint(tmp_path / variant, variant=variant)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / variant)
        message = [{"role": "user", "content": "hello"}]
        prompt = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        assert prompt.endswith(ends)


def test_unknown_variants_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="variants of qwen3_omni: instruct, thinking, captioner"):
        write_tiny_checkpoint(tmp_path, variant="singing")
    with pytest.raises(ValueError, match="no variant 'thinking' of 'qwen3_5_omni'"):
        write_tiny_checkpoint(tmp_path, "qwen3_5_omni", variant="thinking")
