"""The card says what the checkpoint's folder says."""

from __future__ import annotations

import json
from pathlib import Path

from antiphon_executor.card import read_config, text_ends
from tests.checkpoints import tiny_qwen3_omni  # noqa: F401


def test_given_a_generation_config_then_all_its_ends_end_an_answer(tiny_qwen3_omni: Path) -> None:  # noqa: F811
    given = json.loads((tiny_qwen3_omni / "generation_config.json").read_text())["eos_token_id"]
    config = read_config(tiny_qwen3_omni)
    assert text_ends(tiny_qwen3_omni, config) == {*given, config.im_end_token_id}


def test_given_none_then_the_end_of_a_segment_does(tiny_qwen3_omni: Path, tmp_path: Path) -> None:  # noqa: F811
    config = read_config(tiny_qwen3_omni)
    assert text_ends(tmp_path, config) == {config.im_end_token_id}
