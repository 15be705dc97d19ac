"""Other names of Qwen3.5-Omni in public ports: model types, and keys of the configuration."""

from __future__ import annotations

from typing import Any

MODEL_TYPE = "qwen3_5_omni_moe"
MODEL_TYPES = ("qwen3_omni_next", "qwen3_5_omni")

# Codes of the first group end this many ids before the special codec ids, and the tail is one of two sizes.
_TAILS = (1024, 3072)


def with_own_names(config: dict[str, Any]) -> dict[str, Any]:
    """`config` of a checkpoint with our names. Keys that we do not rename stay as they are."""
    if config.get("model_type") not in MODEL_TYPES:
        return config
    renamed = {name: value for name, value in config.items() if name != "audio_tokenizer_config"}
    renamed["model_type"] = MODEL_TYPE
    if "audio_tokenizer_config" in config:
        renamed.setdefault("code2wav_config", config["audio_tokenizer_config"])
    thinker = _without_type(config.get("thinker_config"))
    for name in ("talker_language_id",):
        if name in thinker:
            renamed.setdefault(name, thinker[name])
    most = renamed.pop("max_thinker_to_talker_mm_tokens", None)
    renamed["thinker_config"] = thinker
    renamed["talker_config"] = _talker(_without_type(config.get("talker_config")), most)
    return renamed


def _talker(talker: dict[str, Any], most_media: int | None) -> dict[str, Any]:
    """In ports `text_config.vocab_size` counts codec ids, and `text_vocab_size` text ids."""
    text = dict(talker.get("text_config") or {})
    text_ids = talker.pop("text_vocab_size", text.pop("text_vocab_size", None))
    if text_ids is not None and "vocab_size" in text:
        talker.setdefault("codec_vocab_size", text["vocab_size"])
        text["vocab_size"] = text_ids
    text.pop("model_type", None)
    talker["text_config"] = text
    most = talker.pop("max_thinker_to_talker_mm_tokens", most_media)
    if most is not None:
        talker.setdefault("max_media_rows", most)
    if "spk_id" in talker:
        talker.setdefault("speaker_id", talker.pop("spk_id"))
    if "codec_vocab_size" in talker and "codec_eos_token_id" in talker:
        codes = talker["codec_vocab_size"], talker["codec_eos_token_id"]
        talker.setdefault("suppressed_codes", _tail(*codes))
    return talker


def _tail(vocabulary: int, eos: int) -> int:
    """The special ids, EOS among them, lie in the tail that is never drawn."""
    fitting = (tail for tail in _TAILS if vocabulary > tail >= vocabulary - eos)
    return next(fitting, vocabulary - eos)


def _without_type(part: Any) -> dict[str, Any]:
    """A nested configuration without its model type, which is a port's own."""
    given = {} if part is None else dict(part)
    given.pop("model_type", None)
    for name in ("audio_config", "vision_config", "code_predictor_config", "text_config"):
        if isinstance(given.get(name), dict):
            inner = given[name]
            given[name] = {key: value for key, value in inner.items() if key != "model_type"}
    return given
