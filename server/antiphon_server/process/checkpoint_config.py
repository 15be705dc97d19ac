"""What `config.json` requires of a checkpoint's weights, and contradictions between the two."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from antiphon_server.exits import ExitCode, StartupError

_QWEN3_5 = "Qwen3_5OmniMoeForConditionalGeneration"
_TEXT_ONLY = "--no-engine.speech serves the model without a voice"
# Endings of the tensors that quantized formats have in place of a weight, or beside it.
_QUANTIZED = (".qweight", ".weight_packed", ".weight_scale", ".weight_scale_inv")


def check_config(file: Path, config: Mapping[str, Any]) -> None:
    """Raises `StartupError` if the Talker is missing, does not fit the Thinker, or is quantized."""
    talker = _part(config, "talker_config")
    if not talker:
        problem = f"{file} has no talker_config, and enable_audio_output is not false"
        raise StartupError(ExitCode.NOT_A_CHECKPOINT, problem, _TEXT_ONLY)
    layer = talker.get("accept_hidden_layer", 0)
    layers = _count(_part(config, "thinker_config", "text_config"), "num_hidden_layers")
    # In JSON `true` is no number; in Python it is one.
    if type(layer) is not int or layer < 0 or (layers and layer > layers):
        raise StartupError(
            ExitCode.NOT_A_CHECKPOINT,
            f"{file}: talker_config.accept_hidden_layer is {layer!r}, but the Thinker has {layers} layers",
        )
    vocoder = _part(config, "code2wav_config")
    for name, owner in (("talker_config", talker), ("code2wav_config", vocoder)):
        parts = (owner, *(part for part in owner.values() if isinstance(part, dict)))
        if any(part.get("quantization_config") for part in parts):
            raise _quantized(f"{file}: {name} has a quantization_config")


def check_talker_tensors(folder: Path, names: Collection[str]) -> None:
    """Raises `StartupError` if the Talker's or the vocoder's weights are in a quantized format."""
    spoken = (name for name in sorted(names) if name.startswith(("talker.", "code2wav.")))
    found = next((name for name in spoken if name.endswith(_QUANTIZED)), None)
    if found is not None:
        raise _quantized(f"{folder}: {found} is in a quantized format")


def required_tensors(config: Mapping[str, Any], speaks: bool) -> Iterator[str]:
    """Tensors without which loading fails: tables, and one tensor of each layer and code group."""
    yield "thinker.model.embed_tokens.weight"
    yield from _layers("thinker.model", _part(config, "thinker_config", "text_config"))
    if not speaks:
        return
    talker = _part(config, "talker_config")
    yield from ("talker.model.codec_embedding.weight", "talker.codec_head.weight")
    if _QWEN3_5 in config.get("architectures", ()):
        yield from ("talker.model.embed_tokens.weight", "talker.hidden_projection.weight")
    else:
        for projection in ("text_projection", "hidden_projection"):
            yield from (f"talker.{projection}.linear_fc{number}.weight" for number in (1, 2))
    yield from _layers("talker.model", _part(talker, "text_config"))
    for group in range(_count(talker, "num_code_groups") - 1):
        yield f"talker.code_predictor.model.codec_embedding.{group}.weight"
        yield f"talker.code_predictor.lm_head.{group}.weight"
    yield from _layers("talker.code_predictor.model", _part(talker, "code_predictor_config"))
    yield "code2wav.code_embedding.weight"
    yield from _layers("code2wav.pre_transformer", _part(config, "code2wav_config"))


def _layers(prefix: str, part: Mapping[str, Any]) -> Iterator[str]:
    count = _count(part, "num_hidden_layers")
    return (f"{prefix}.layers.{index}.input_layernorm.weight" for index in range(count))


def _part(config: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """A nested part; empty if the checkpoint leaves it to the defaults of its class."""
    for name in names:
        found = config.get(name)
        config = found if isinstance(found, dict) else {}
    return config


def _count(part: Mapping[str, Any], name: str) -> int:
    """0 if the checkpoint leaves it to the default of its class."""
    found = part.get(name)
    return found if isinstance(found, int) else 0


def _quantized(problem: str) -> StartupError:
    message = f"{problem}; only the Thinker may be quantized"
    return StartupError(ExitCode.UNSUPPORTED_MODEL, message, _TEXT_ONLY)
