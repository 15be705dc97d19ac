"""Configurations of public ports are read as ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from antiphon_executor.checkpoint.family import QWEN3_5_OMNI, family_of, read_config
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig, register
from antiphon_executor.models.qwen3_5_omni.names import with_own_names
from antiphon_executor.models.qwen3_5_omni.talker_prompt import PromptLayout
from tests.reference import mini


def as_port(model_type: str = "qwen3_omni_next") -> dict[str, Any]:
    """The miniature's configuration with the keys of public ports."""
    config = mini.marked_config().to_dict()
    talker = config["talker_config"]
    text = talker["text_config"]
    talker["text_vocab_size"], text["vocab_size"] = text["vocab_size"], talker.pop("codec_vocab_size")
    talker["max_thinker_to_talker_mm_tokens"] = talker.pop("max_media_rows")
    talker["spk_id"] = {"tina": 0}
    del talker["speaker_id"], talker["suppressed_codes"]
    for part, name in ((config["thinker_config"], "thinker"), (talker, "talker"), (text, "talker_text")):
        part["model_type"] = f"{model_type}_{name}"
    config["thinker_config"]["talker_language_id"] = config.pop("talker_language_id")
    config["audio_tokenizer_config"] = config.pop("code2wav_config")
    return config | {"model_type": model_type, "architectures": ["Qwen3OmniNextForConditionalGeneration"]}


@pytest.mark.parametrize("model_type", ["qwen3_omni_next", "qwen3_5_omni"])
def test_a_ports_configuration_is_read_as_ours(tmp_path: Path, model_type: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(as_port(model_type)))
    register()
    own = mini.marked_config()
    for config in (read_config(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert isinstance(config, Qwen3_5OmniMoeConfig)
        assert family_of(config) is QWEN3_5_OMNI
        talker = config.talker_config
        assert talker.text_config.vocab_size == mini.VOCAB
        assert talker.codec_vocab_size == mini.CODEC_VOCAB
        assert talker.max_media_rows == own.talker_config.max_media_rows
        assert talker.speaker_id == {"tina": 0}
        assert config.code2wav_config.codebook_size == mini.CODES
        assert PromptLayout.of(config) == PromptLayout.of(own)


@pytest.mark.parametrize(("eos", "suppressed"), [(4198, 1024), (2150, 3072)])
def test_the_suppressed_tail_begins_behind_the_codes(eos: int, suppressed: int) -> None:
    port = {
        "model_type": "qwen3_omni_next",
        "talker_config": {"codec_vocab_size": 5120, "codec_eos_token_id": eos},
    }
    assert with_own_names(port)["talker_config"]["suppressed_codes"] == suppressed


def test_our_own_configuration_is_left_alone() -> None:
    own = mini.mini_config().to_dict()
    assert with_own_names(own) is own
