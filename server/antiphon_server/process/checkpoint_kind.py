"""What kind of checkpoint a folder holds, by its `config.json`. Formats that are not served are refused."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon_server.exits import ExitCode, StartupError

SUPPORTED_ARCHITECTURES = (
    "Qwen3OmniMoeForConditionalGeneration",
    "Qwen3_5OmniMoeForConditionalGeneration",
)

_QWEN3_5 = SUPPORTED_ARCHITECTURES[1]
# Names of the same architecture and of its vocoder in public ports.
_OTHER_NAMES = {
    "Qwen3OmniNextForConditionalGeneration": _QWEN3_5,
    "Qwen3OmniNextMoeForConditionalGeneration": _QWEN3_5,
    "Qwen3_5OmniForConditionalGeneration": _QWEN3_5,
}
_OTHER_VOCODER = "audio_tokenizer."

_CONFIG = "config.json"
_CONFIG_BYTES = 4 << 20
_SHOWN_FOLDERS = 4


@dataclass(frozen=True, slots=True)
class CheckpointKind:
    """`quantization`: the method of the Thinker's weights, such as "awq"; None if they are not quantized."""

    architecture: str
    has_talker: bool
    quantization: str | None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> CheckpointKind:
        """`config`: as `read_config` gives it."""
        return cls(
            architecture=next(name for name in config["architectures"] if name in SUPPORTED_ARCHITECTURES),
            has_talker=config.get("enable_audio_output") is not False,
            quantization=_quantization_of(config),
        )

    @property
    def description(self) -> str:
        weights = [f"{self.quantization} weights"] if self.quantization else []
        silent = [] if self.has_talker else ["no Talker: answers in text"]
        return ", ".join([self.architecture, *weights, *silent])


def read_config(path: Path) -> dict[str, Any]:
    """With our name of the architecture. Raises `StartupError` unless the folder holds a supported one."""
    _refuse_gguf(path)
    config = _read_json(path)
    listed = config.get("architectures")
    if isinstance(listed, list):
        config["architectures"] = [
            _OTHER_NAMES.get(name, name) if isinstance(name, str) else name for name in listed
        ]
    _check_architecture(path, config)
    return config


def own_tensor_name(name: str) -> str:
    """Our name of a tensor that a port may name otherwise."""
    return f"code2wav.{name.removeprefix(_OTHER_VOCODER)}" if name.startswith(_OTHER_VOCODER) else name


def _check_architecture(path: Path, config: dict[str, Any]) -> None:
    listed = config.get("architectures")
    named = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    if not named:
        raise StartupError(ExitCode.NOT_A_CHECKPOINT, f"{path / _CONFIG} names no architecture")
    if not set(named) & set(SUPPORTED_ARCHITECTURES):
        close = difflib.get_close_matches(named[0], SUPPORTED_ARCHITECTURES, n=1)
        supported = ", ".join(SUPPORTED_ARCHITECTURES)
        hint = f"did you mean a checkpoint of {close[0]}?" if close else f"supported: {supported}"
        raise StartupError(ExitCode.UNSUPPORTED_MODEL, f"the architecture {named[0]} is not supported", hint)


def _quantization_of(config: Mapping[str, Any]) -> str | None:
    """As the engine finds it: at the top, in `thinker_config` or in its `text_config`."""
    thinker = _inner(config, "thinker_config")
    for owner in (config, thinker, _inner(thinker, "text_config")):
        method = _inner(owner, "quantization_config").get("quant_method")
        if isinstance(method, str):
            return method
    return None


def _inner(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    inner = config.get(name)
    return inner if isinstance(inner, dict) else {}


def _refuse_gguf(path: Path) -> None:
    file = path if path.suffix == ".gguf" else next(iter(sorted(path.glob("*.gguf"))), None)
    if file is not None and not any(path.glob("*.safetensors")):
        raise StartupError(
            ExitCode.NOT_A_CHECKPOINT,
            f"{file} is a GGUF file: the encoders and the Talker are read from *.safetensors only",
            "give the original checkpoint, or one quantized with AWQ, GPTQ, FP8 or compressed-tensors",
        )


def _read_json(path: Path) -> dict[str, Any]:
    file = path / _CONFIG
    try:
        if file.stat().st_size > _CONFIG_BYTES:
            raise ValueError("too large")
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _no_config(path) from None
    except NotADirectoryError:
        raise StartupError(ExitCode.NOT_A_CHECKPOINT, f"{path} is a file; a folder is needed") from None
    except (OSError, ValueError):
        raise StartupError(ExitCode.NOT_A_CHECKPOINT, f"{file} cannot be read as JSON") from None
    if not isinstance(config, dict):
        raise StartupError(ExitCode.NOT_A_CHECKPOINT, f"{file} is not a model's configuration")
    return config


def _no_config(path: Path) -> StartupError:
    parts = sorted(inner.parent.name for inner in path.glob(f"*/{_CONFIG}"))
    if not parts:
        hint = "--model takes the folder that holds config.json and the weights"
        return StartupError(ExitCode.NOT_A_CHECKPOINT, f"{path} has no {_CONFIG}", hint)
    shown = ", ".join(parts[:_SHOWN_FOLDERS]) + (", …" if len(parts) > _SHOWN_FOLDERS else "")
    return StartupError(
        ExitCode.NOT_A_CHECKPOINT,
        f"{path} has no {_CONFIG}; its sub-folders {shown} have. A model in several folders is not supported",
        f"if one of them is the whole model, give it: {path / parts[0]}",
    )
