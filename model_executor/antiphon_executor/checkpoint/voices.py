"""Lists a checkpoint's voices and builds the Talker prompts for them.

Qwen3-Omni's voices are its speaker table; Qwen3.5-Omni's are files of the checkpoint and of the operator.
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

from antiphon_executor.checkpoint.built_in_voices import BuiltInVoice, built_in_voices
from antiphon_executor.checkpoint.voice_file import VoiceError, VoiceFile, read_voice_file
from antiphon_executor.interface.card import Voice
from antiphon_executor.interface.tokenizer_files import tokenizer_file
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.qwen3_5_omni.talker_prompt import PromptLayout, VoicePrompt

VOICES_FOLDER = "voices"
SUFFIX = ".json"

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_USUAL_DEFAULT = "ethan"


@dataclass(frozen=True, slots=True, eq=False)
class SpokenVoice:
    """A voice of Qwen3.5-Omni: its description for clients and its prompt for the Talker."""

    voice: Voice
    prompt: VoicePrompt


def list_voices(checkpoint: Path, config: PreTrainedConfig, extra_folder: Path | None) -> tuple[Voice, ...]:
    """All voices in order of id, exactly one the default. Raises `VoiceError`."""
    if isinstance(config, Qwen3_5OmniMoeConfig):
        return tuple(spoken.voice for spoken in voice_prompts(checkpoint, config, extra_folder))
    if extra_folder is not None:
        raise VoiceError(
            extra_folder, "this checkpoint has a fixed set of voices and supports no voice files"
        )
    names = sorted(config.talker_config.speaker_id)
    default = _USUAL_DEFAULT if _USUAL_DEFAULT in names else names[0]
    return tuple(Voice(name, name, default=name == default) for name in names)


def voice_prompts(
    checkpoint: Path, config: Qwen3_5OmniMoeConfig, extra_folder: Path | None
) -> tuple[SpokenVoice, ...]:
    """The built-in voices, and those in `<checkpoint>/voices/*.json` and `extra_folder`, whose id is their
    file's stem.

    The default is a file with `default`, preferably of `extra_folder`; else the first id. Raises
    `OperatorError`.
    """
    limits = codebook_sizes(config)
    built_in = built_in_voices(checkpoint, config, limits)
    files: dict[str, tuple[Path, VoiceFile]] = {}
    chosen: str | None = None
    for folder in _folders(checkpoint, extra_folder):
        defaults = []
        for file in sorted(folder.glob(f"*{SUFFIX}")):
            voice_id = _id_of(file)
            if voice_id in files:
                raise VoiceError(file, f"{files[voice_id][0]} has the same id")
            if voice_id in built_in:
                raise VoiceError(file, "a built-in voice of the checkpoint has the same id")
            files[voice_id] = file, read_voice_file(file, limits)
            defaults += [voice_id] if files[voice_id][1].default else []
        if len(defaults) > 1:
            raise VoiceError(folder, f"it has more than one default voice: {', '.join(defaults)}")
        chosen = defaults[0] if defaults else chosen
    if not files and not built_in:
        problem = f"it contains no *{SUFFIX} file, and a Qwen3.5-Omni Talker needs at least one voice file"
        raise VoiceError(extra_folder or checkpoint / VOICES_FOLDER, problem)
    chosen = chosen or min([*files, *built_in])
    writer = _PromptWriter(checkpoint, config)
    spoken = [
        SpokenVoice(
            Voice(voice_id, given.name, given.language, given.licence, default=voice_id == chosen),
            writer.prompt(file, given),
        )
        for voice_id, (file, given) in files.items()
    ]
    spoken += [
        SpokenVoice(Voice(voice_id, given.name, default=voice_id == chosen), writer.built_in_prompt(given))
        for voice_id, given in built_in.items()
    ]
    return tuple(sorted(spoken, key=lambda one: one.voice.id))


def codebook_sizes(config: Qwen3_5OmniMoeConfig) -> NDArray[np.int64]:
    """Number of codes per group, int64 [groups], without the reserved ids of the codec's vocabulary."""
    talker = config.talker_config
    first = talker.codec_vocab_size - talker.suppressed_codes
    residual = talker.code_predictor_config.vocab_size
    return np.array([first] + [residual] * (talker.num_code_groups - 1), np.int64)


class _PromptWriter:
    """Encodes voice files: `<|im_start|>system\\n` opening, frames, closing `<|im_end|>\\n`.

    Control tokens spelled out in a file's text are encoded as plain text.
    """

    def __init__(self, checkpoint: Path, config: Qwen3_5OmniMoeConfig) -> None:
        tree = json.loads(tokenizer_file(checkpoint).read_text(encoding="utf-8"))
        self._controls = frozenset(token["id"] for token in tree.pop("added_tokens"))
        self._plain = Tokenizer.from_str(json.dumps(tree | {"added_tokens": [], "post_processor": None}))
        self._config = config

    def prompt(self, file: Path, voice: VoiceFile) -> VoicePrompt:
        groups = self._config.talker_config.num_code_groups
        languages = PromptLayout.of(self._config).languages
        if voice.speech_language is not None and voice.speech_language not in languages:
            known = ", ".join(sorted(languages)) or "none"
            raise VoiceError(file, f"speech_language: the model's languages are {known}")
        return VoicePrompt(
            opening=(self._config.im_start_token_id, *self._encode(file, f"system\n{voice.opening}")),
            codes=np.array(voice.codes, np.int64).reshape(-1, groups),
            closing=(
                *self._encode(file, voice.closing),
                self._config.im_end_token_id,
                *self._encode(file, "\n"),
            ),
            language=voice.speech_language,
        )

    def built_in_prompt(self, voice: BuiltInVoice) -> VoicePrompt:
        file = Path(voice.name)
        return VoicePrompt(
            opening=(self._config.im_start_token_id, *self._encode(file, "system\n"), *voice.text_ids),
            codes=voice.codes,
            closing=(self._config.im_end_token_id, *self._encode(file, "\n")),
        )

    def _encode(self, file: Path, text: str) -> list[int]:
        ids = list(self._plain.encode(text, add_special_tokens=False).ids)
        vocabulary = self._config.talker_config.text_config.vocab_size
        if any(token >= vocabulary or token in self._controls for token in ids):
            raise VoiceError(file, "its text has tokens that the Talker does not support")
        return ids


def _folders(checkpoint: Path, extra_folder: Path | None) -> Iterator[Path]:
    own = checkpoint / VOICES_FOLDER
    if own.is_dir():
        yield own
    if extra_folder is not None:
        if not extra_folder.is_dir():
            raise VoiceError(extra_folder, "the folder does not exist")
        yield extra_folder


def _id_of(file: Path) -> str:
    if not _ID.fullmatch(file.stem):
        raise VoiceError(file, "the file name must be 1 to 64 lower-case letters, digits, - or _")
    return file.stem
