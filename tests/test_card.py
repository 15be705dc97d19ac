"""The model card has the values of the checkpoint's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.checkpoint.model_card import model_card, read_card_file, text_ends
from antiphon_executor.interface.capacity import EngineCapacity
from antiphon_executor.interface.card import Listening, ModelCard, Voice
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_executor.interface.request import RepetitionDetection
from antiphon_executor.interface.settings import EngineSettings
from tests.checkpoints import tiny_qwen3_omni  # noqa: F401


def test_given_a_generation_config_then_all_its_ends_end_an_answer(tiny_qwen3_omni: Path) -> None:  # noqa: F811
    given = json.loads((tiny_qwen3_omni / "generation_config.json").read_text())["eos_token_id"]
    config = read_config(tiny_qwen3_omni)
    assert text_ends(tiny_qwen3_omni, config) == {*given, config.im_end_token_id}


def test_given_no_generation_config_then_im_end_ends_an_answer(tiny_qwen3_omni: Path, tmp_path: Path) -> None:  # noqa: F811
    config = read_config(tiny_qwen3_omni)
    assert text_ends(tmp_path, config) == {config.im_end_token_id}


class _Thinker:
    """What the card asks vLLM's model config."""

    max_model_len = 4096

    def get_diff_sampling_param(self) -> dict[str, float]:
        return {"temperature": 0.7, "max_tokens": 99, "unheard_of": 1}


def test_given_recommended_sampling_then_the_card_has_the_supported_values(
    tiny_qwen3_omni: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    notes = {"speech": {"predictor_temperature": 0.0, "temperature": 0.4, "speed": 2}}
    (tmp_path / "antiphon_card.json").write_text(json.dumps(notes))
    card = _card(tmp_path, tiny_qwen3_omni, (Voice("aiden", "Aiden"), Voice("ethan", "Ethan", default=True)))
    assert (card.sampling.temperature, card.sampling.top_p) == (0.7, 1.0)
    assert card.speech is not None
    assert (card.speech.temperature, card.speech.predictor_temperature) == (0.4, 0.0)
    assert (card.speech.voice, card.speech.top_k) == ("ethan", 50)


@pytest.mark.parametrize(
    ("given", "temperature"),
    [(None, 0.0), ({}, 0.0), ({"do_sample": False}, 0.0), ({"do_sample": True}, 1.0)],
)
def test_given_a_silent_generation_config_then_text_is_greedy_as_in_transformers(
    tiny_qwen3_omni: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, bool] | None,
    temperature: float,
) -> None:
    if given is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(given))
    monkeypatch.setattr(_Thinker, "get_diff_sampling_param", lambda _: {})
    assert _card(tmp_path, tiny_qwen3_omni, ()).sampling.temperature == temperature


def test_given_repetition_detection_then_the_card_has_it(
    tiny_qwen3_omni: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    assert _card(tmp_path, tiny_qwen3_omni, ()).sampling.repetition_detection is None
    notes = {"repetition_detection": {"max_pattern_size": 24, "min_pattern_size": 3, "min_count": 4}}
    (tmp_path / "antiphon_card.json").write_text(json.dumps(notes))
    cut = _card(tmp_path, tiny_qwen3_omni, ()).sampling.repetition_detection
    assert cut == RepetitionDetection(max_pattern_size=24, min_pattern_size=3, min_count=4)


def test_given_how_it_reads_and_listens_then_the_card_has_it(
    tiny_qwen3_omni: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    usual = _card(tmp_path, tiny_qwen3_omni, ())
    assert (usual.spoken_chars, usual.listening) == (400, Listening())
    notes = {
        "spoken_chars": 80,
        "listening": {"transcribe": "Write.", "translate": None, "languages": ["en"]},
    }
    (tmp_path / "antiphon_card.json").write_text(json.dumps(notes))
    card = _card(tmp_path, tiny_qwen3_omni, ())
    assert (card.spoken_chars, card.listening) == (80, Listening("Write.", None, ("en",)))


def test_given_no_voices_then_the_card_has_no_speech_sampling(tiny_qwen3_omni: Path) -> None:  # noqa: F811
    card = _card(tiny_qwen3_omni, tiny_qwen3_omni, ())
    assert (card.speech, card.default_voice, card.speaks, card.random_weights) == (None, None, False, True)


def test_given_an_invalid_card_then_the_error_names_it(tmp_path: Path) -> None:
    for text in ("[]", '{"speech": 3}', '{"repetition_detection": true}'):
        (tmp_path / "antiphon_card.json").write_text(text)
        with pytest.raises(ValueError, match="is not a valid model card"):
            read_card_file(tmp_path)


def _card(folder: Path, config: Path, voices: tuple[Voice, ...]) -> ModelCard:
    thinker: Any = _Thinker()
    return model_card(
        EngineSettings(model=folder),
        read_config(config),
        voices,
        thinker,
        (),
        EngineCapacity(),
        MediaGeometry(),
    )
