"""A tiny Qwen3.5-Omni checkpoint as public ports have it: their names, codec ids and built-in voices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.models.architectures import SPEAKER_CODES

FRAMES = 6


def write_port(source: Path, target: Path) -> Path:
    """`source` with the Talker's prompt of the ports; the weights are the same."""
    shutil.copytree(source, target)
    own = read_config(source).talker_config
    weights = load_file(source / "model.safetensors")
    named = {name.replace("code2wav.", "audio_tokenizer.", 1): tensor for name, tensor in weights.items()}
    dice = torch.Generator().manual_seed(0)
    codes = torch.randint(256, (2, own.num_code_groups, FRAMES), generator=dice)
    codes[1, :, FRAMES - 2 :] = -1
    save_file(named | {SPEAKER_CODES: codes}, target / "model.safetensors", metadata={"format": "pt"})

    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    talker = config["talker_config"]
    text, first = talker["text_config"], talker["codec_pad_id"]
    talker["text_vocab_size"], text["vocab_size"] = text["vocab_size"], talker.pop("codec_vocab_size")
    talker["max_thinker_to_talker_mm_tokens"] = talker.pop("max_media_rows")
    talker |= {"speaker_id": {"Tina": 0, "M02": 1}, "speaker_system_prompt_id": {"Tina": [31, 40], "M02": 32}}
    talker |= {"codec_think_id": first + 6, "codec_nothink_id": first + 7}
    talker |= {"codec_think_bos_id": first + 8, "codec_think_eos_id": first + 9}
    config |= {"talker_language_id": {"english": first + 10}, "model_type": "qwen3_omni_next"}
    config["architectures"] = ["Qwen3OmniNextForConditionalGeneration"]
    config["audio_tokenizer_config"] = config.pop("code2wav_config")
    (target / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return target
