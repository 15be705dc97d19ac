"""The voices of a checkpoint: what clients are shown of each, and what the Talker is told to speak in it.

In: a checkpoint's folder and config, an operator's folder of voice files. Out: `Voice`s, `VoicePrompt`s.
Qwen3-Omni's voices are its speaker table, Qwen3.5-Omni's are files. Loads no weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import PreTrainedConfig

from antiphon_executor.checkpoint.voice_file import VoiceError, VoiceFile, read_voice_file
from antiphon_executor.interface.card import Voice
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.qwen3_5_omni.talker_prompt import VoicePrompt

VOICES_FOLDER = "voices"
SUFFIX = ".json"

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_USUAL_DEFAULT = "ethan"


@dataclass(frozen=True, slots=True, eq=False)
class SpokenVoice:
    """`voice` is for clients, `prompt` for the Talker."""

    voice: Voice
    prompt: VoicePrompt


def voices_of(checkpoint: Path, config: PreTrainedConfig, extra_folder: Path | None) -> tuple[Voice, ...]:
    """All voices by id, exactly one the default. Raises `VoiceError`, naming the file."""
    if isinstance(config, Qwen3_5OmniMoeConfig):
        return tuple(spoken.voice for spoken in voice_prompts(checkpoint, config, extra_folder))
    if extra_folder is not None:
        raise VoiceError(extra_folder, "this checkpoint's voices are its own, and take no files")
    names = sorted(config.talker_config.speaker_id)
    default = _USUAL_DEFAULT if _USUAL_DEFAULT in names else names[0]
    return tuple(Voice(name, name, default=name == default) for name in names)


def voice_prompts(
    checkpoint: Path, config: Qwen3_5OmniMoeConfig, extra_folder: Path | None
) -> tuple[SpokenVoice, ...]:
    """`<checkpoint>/voices/*.json` and the operator's, by id: the file's name without its ending.

    The default is the file that says so, the operator's first, else the first by id. Raises `VoiceError`.
    """
    limits = code_limits(config)
    files: dict[str, tuple[Path, VoiceFile]] = {}
    chosen: str | None = None
    for folder in _folders(checkpoint, extra_folder):
        defaults = []
        for file in sorted(folder.glob(f"*{SUFFIX}")):
            voice_id = _id_of(file)
            if voice_id in files:
                raise VoiceError(file, f"{files[voice_id][0]} has the same name")
            files[voice_id] = file, read_voice_file(file, limits)
            defaults += [voice_id] if files[voice_id][1].default else []
        if len(defaults) > 1:
            raise VoiceError(folder, f"more than one is the default: {', '.join(defaults)}")
        chosen = defaults[0] if defaults else chosen
    if not files:
        problem = f"it holds no *{SUFFIX}: a Qwen3.5-Omni Talker speaks in a voice of a file alone"
        raise VoiceError(extra_folder or checkpoint / VOICES_FOLDER, problem)
    chosen = chosen or min(files)
    writer = _PromptWriter(checkpoint, config)
    return tuple(
        SpokenVoice(
            Voice(voice_id, given.name, given.language, given.licence, default=voice_id == chosen),
            writer.prompt(file, given),
        )
        for voice_id, (file, given) in sorted(files.items())
    )


def code_limits(config: Qwen3_5OmniMoeConfig) -> NDArray[np.int64]:
    """How many codes each group has, int64 [groups]: reserved ids of the codec's vocabulary are none."""
    talker = config.talker_config
    first = talker.codec_vocab_size - talker.suppressed_codes
    residual = talker.code_predictor_config.vocab_size
    return np.array([first] + [residual] * (talker.num_code_groups - 1), np.int64)


class _PromptWriter:
    """Voice files as token ids: `<|im_start|>system\\n` opening, frames, closing `<|im_end|>\\n`.

    Text is text: a control token that a file spells out is none.
    """

    def __init__(self, checkpoint: Path, config: Qwen3_5OmniMoeConfig) -> None:
        tree = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
        self._controls = frozenset(token["id"] for token in tree.pop("added_tokens"))
        self._plain = Tokenizer.from_str(json.dumps(tree | {"added_tokens": [], "post_processor": None}))
        self._config = config

    def prompt(self, file: Path, voice: VoiceFile) -> VoicePrompt:
        groups = self._config.talker_config.num_code_groups
        return VoicePrompt(
            opening=(self._config.im_start_token_id, *self._encode(file, f"system\n{voice.opening}")),
            codes=np.array(voice.codes, np.int64).reshape(-1, groups),
            closing=(
                *self._encode(file, voice.closing),
                self._config.im_end_token_id,
                *self._encode(file, "\n"),
            ),
        )

    def _encode(self, file: Path, text: str) -> list[int]:
        ids = list(self._plain.encode(text, add_special_tokens=False).ids)
        vocabulary = self._config.talker_config.text_config.vocab_size
        if any(token >= vocabulary or token in self._controls for token in ids):
            raise VoiceError(file, "its text has tokens that the Talker cannot read as text")
        return ids


def _folders(checkpoint: Path, extra_folder: Path | None) -> Iterator[Path]:
    own = checkpoint / VOICES_FOLDER
    if own.is_dir():
        yield own
    if extra_folder is not None:
        if not extra_folder.is_dir():
            raise VoiceError(extra_folder, "there is no such folder")
        yield extra_folder


def _id_of(file: Path) -> str:
    if not _ID.fullmatch(file.stem):
        raise VoiceError(file, "a voice is named by small letters, digits, - and _, 64 at most")
    return file.stem
