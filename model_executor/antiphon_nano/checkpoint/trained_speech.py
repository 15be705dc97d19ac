"""The trained speech parts of a checkpoint: weights of Talker and vocoder, and the voice files."""

from __future__ import annotations

from pathlib import Path

from antiphon_executor.checkpoint.voice_file import VoiceFile
from antiphon_executor.checkpoint.voices import SUFFIX, VOICES_FOLDER
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_nano import training
from antiphon_nano.speech.recordings import Recordings

REFERENCE_FRAMES = 16
"""Length of a voice prompt. The Talker was trained with prompts of this length."""
_LICENCE = "Apache-2.0"
_NAMES = {"heart": "Heart", "deep": "Deep"}
_DEFAULT = "heart"


def load_speech(home: Path, model: Qwen3_5OmniMoeForConditionalGeneration) -> None:
    """Fills `model.talker` and `model.code2wav`, the latter with the polished vocoder if that passed its
    gate.
    """
    model.talker.load_state_dict(training.weights(home / "talker.safetensors", "talker"))
    model.code2wav.load_state_dict(training.weights(vocoder_file(home), "vocoder"))


def vocoder_file(home: Path) -> Path:
    """The polished vocoder if it passed its gate, else the vocoder of stage 3."""
    return home / ("polished.safetensors" if (home / "polished.passed").exists() else "vocoder.safetensors")


def write_voices(home: Path, checkpoint: Path) -> None:
    """Writes the voice files of both voices into `checkpoint`: names, and frames of held-out speech."""
    folder = checkpoint / VOICES_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for voice, name in _NAMES.items():
        speech = Recordings(home / "speech", f"held-{voice}")
        long = next(
            index for index in range(len(speech)) if speech.utterance(index).frames > 2 * REFERENCE_FRAMES
        )
        codes = speech.codes(long)[:REFERENCE_FRAMES].tolist()
        file = VoiceFile(name=name, language="en", licence=_LICENCE, codes=codes, default=voice == _DEFAULT)
        text = file.model_dump_json(exclude_defaults=True)
        (folder / f"{voice}{SUFFIX}").write_text(text + "\n", encoding="utf-8")
