"""Rewrites a tiny Qwen3-Omni checkpoint to the files and keys of the released Qwen3-Omni-30B-A3B-Instruct.

Weights and meaning stay the same: sharded weights, `vocab.json` and `merges.txt` without `tokenizer.json`,
`chat_template.json`, `preprocessor_config.json`, and the configuration keys of transformers 4.57.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from antiphon_executor.tiny.tokenizer import CONTROL_TOKENS, NAMED_TOKENS, VISIBLE_TOKENS

SHARDS = 4
INDEX = "model.safetensors.index.json"
# The released embedding has 152,064 rows for 151,676 tokens.
_VOCABULARY_MULTIPLE = 64
# A logit weight on the constant channel (`end_tokens`) with which a token is never drawn.
_NEVER = -16.0
_VERSION = "4.57.0.dev0"
_EMBEDDING, _HEAD = "thinker.model.embed_tokens.weight", "thinker.lm_head.weight"
_VOCODER = "code2wav."
# Keys that transformers 4 wrote into each nested configuration.
_LEGACY: dict[str, Any] = {
    "add_cross_attention": False,
    "cross_attention_hidden_size": None,
    "decoder_start_token_id": None,
    "finetuning_task": None,
    "is_decoder": False,
    "prefix": None,
    "pruned_heads": {},
    "sep_token_id": None,
    "task_specific_params": None,
    "tf_legacy_loss": False,
    "tie_encoder_decoder": False,
    "tokenizer_class": None,
    "torchscript": False,
    "use_bfloat16": False,
}


def rewrite(path: Path) -> None:
    """Rewrites the checkpoint at `path`, as `qwen3_omni` writes it, in place."""
    weights, rows = _with_padded_vocabulary(load_file(path / "model.safetensors"))
    _write_shards(path, weights)
    (path / "model.safetensors").unlink()
    _write_json(path / "config.json", _released_config(_read_json(path / "config.json"), rows))
    _write_json(
        path / "generation_config.json", {"_from_model_config": True, "transformers_version": _VERSION}
    )
    _rewrite_tokenizer(path)
    _rewrite_processor(path)


def _with_padded_vocabulary(weights: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], int]:
    """Adds embedding rows that no token has. Their logits keep them from being drawn."""
    embedding, head = weights[_EMBEDDING], weights[_HEAD]
    missing = -len(embedding) % _VOCABULARY_MULTIPLE or _VOCABULARY_MULTIPLE
    padding = torch.zeros(missing, embedding.shape[1])
    never = padding.clone()
    never[:, 0] = _NEVER
    padded = {_EMBEDDING: torch.cat((embedding, padding)), _HEAD: torch.cat((head, never))}
    return weights | padded, len(embedding) + missing


def _write_shards(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Writes `SHARDS` files. The last two hold the vocoder's tensors in turn, between the Talker's."""
    plain = sorted(name for name in weights if not name.startswith(_VOCODER))
    shards = [plain[number::SHARDS] for number in range(SHARDS)]
    for number, name in enumerate(sorted(name for name in weights if name.startswith(_VOCODER))):
        shards[SHARDS - 1 - number % 2].append(name)
    files: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{SHARDS:05}.safetensors"
        save_file({name: weights[name] for name in names}, path / file, metadata={"format": "pt"})
        files |= dict.fromkeys(names, file)
    size = sum(tensor.nbytes for tensor in weights.values())
    _write_json(path / INDEX, {"metadata": {"total_size": size}, "weight_map": dict(sorted(files.items()))})


def _released_config(config: dict[str, Any], vocabulary: int) -> dict[str, Any]:
    """Thinking and Captioner checkpoints have neither a `talker_config` nor a `code2wav_config`."""
    thinker = config["thinker_config"]
    section = thinker["text_config"]["rope_parameters"]["mrope_section"]
    mrope = {"interleaved": True, "mrope_section": section, "rope_type": "default", "type": "default"}
    for name in ("audio_config", "text_config", "vision_config"):
        _use_legacy_keys(thinker[name])
    if "talker_config" in config:
        _rewrite_speech(config["talker_config"], config["code2wav_config"], mrope)
    thinker["text_config"] |= {
        "rope_scaling": {**mrope, "mrope_interleaved": True},
        "vocab_size": vocabulary,
        "eos_token_id": None,
        "pad_token_id": None,
        "shared_expert_intermediate_size": 0,
        "use_qk_norm": True,
        "use_sliding_window": False,
    }
    thinker["vision_config"] |= {"in_chans": 3, "spatial_patch_size": 16, "tokens_per_second": 2}
    thinker |= {"dtype": config["dtype"], "seconds_per_chunk": 2}
    return config | {"transformers_version": _VERSION}


def _rewrite_speech(talker: dict[str, Any], code2wav: dict[str, Any], mrope: dict[str, Any]) -> None:
    for name in ("code_predictor_config", "text_config"):
        _use_legacy_keys(talker[name])
    talker["code_predictor_config"] |= {"rope_scaling": None, "use_sliding_window": False}
    talker["text_config"]["num_experts"] = talker["text_config"].pop("num_local_experts")
    talker |= {"seconds_per_chunk": 2, "output_router_logits": False}
    talker["text_config"]["rope_scaling"] = mrope
    _use_legacy_rope(code2wav)
    code2wav |= {
        "codebook_dim": 32,
        "num_semantic_quantizers": 1,
        "semantic_codebook_size": 512,
        "vector_quantization_hidden_dimension": 32,
    }


def _use_legacy_keys(part: dict[str, Any]) -> None:
    _use_legacy_rope(part)
    part |= {name: value for name, value in _LEGACY.items() if name not in part}


def _use_legacy_rope(part: dict[str, Any]) -> None:
    rope = part.pop("rope_parameters", {"rope_type": None})
    if rope["rope_type"] == "default":
        part["rope_theta"] = int(rope["rope_theta"])


def _rewrite_tokenizer(path: Path) -> None:
    tree = _read_json(path / "tokenizer.json")
    added = {token["id"]: token for token in tree["added_tokens"]}
    plain = {token: number for token, number in tree["model"]["vocab"].items() if number not in added}
    (path / "vocab.json").write_text(json.dumps(plain, ensure_ascii=False), encoding="utf-8")
    merges = "".join(f"{first} {second}\n" for first, second in tree["model"]["merges"])
    (path / "merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8")
    (path / "tokenizer.json").unlink()
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(number): {name: value for name, value in token.items() if name != "id"}
            for number, token in sorted(added.items())
        },
        "additional_special_tokens": [token for token in CONTROL_TOKENS[1:] if token not in VISIBLE_TOKENS],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "extra_special_tokens": NAMED_TOKENS,
        "model_max_length": 131_072,
        "pad_token": "<|endoftext|>",
        "processor_class": "Qwen3OmniMoeProcessor",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    _write_json(path / "tokenizer_config.json", config | NAMED_TOKENS)


def _rewrite_processor(path: Path) -> None:
    """Joins image, video and audio settings in one file, and moves the template into JSON."""
    settings = _read_json(path / "processor_config.json")
    image, audio = settings["image_processor"], settings["feature_extractor"]
    size = image["size"]
    names = (
        "image_mean",
        "image_std",
        "image_processor_type",
        "merge_size",
        "patch_size",
        "temporal_patch_size",
    )
    joined = audio | {name: image[name] for name in names}
    joined |= {"max_pixels": size["longest_edge"], "min_pixels": size["shortest_edge"]}
    joined["processor_class"] = "Qwen3OmniMoeProcessor"
    _write_json(path / "preprocessor_config.json", dict(sorted(joined.items())))
    (path / "processor_config.json").unlink()
    template = path / "chat_template.jinja"
    _write_json(path / "chat_template.json", {"chat_template": template.read_text(encoding="utf-8")})
    template.unlink()


def _read_json(file: Path) -> dict[str, Any]:
    contents: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return contents


def _write_json(file: Path, contents: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(contents, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
