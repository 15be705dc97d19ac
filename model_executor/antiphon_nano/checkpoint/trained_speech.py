"""What the stages of speech have made, for the checkpoint: the weights of Talker and vocoder, and the voices.

In: the folder in which they were trained. Out: a model whose parts they are, and voice files as the server
reads them. Needs no optimizer and nothing that only served training.
"""

from __future__ import annotations

from pathlib import Path

from antiphon_executor.checkpoint.voice_file import VoiceFile
from antiphon_executor.checkpoint.voices import SUFFIX, VOICES_FOLDER
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_nano import training
from antiphon_nano.speech.recordings import Recordings

REFERENCE_FRAMES = 16
"""Of a voice prompt: as long as those that the Talker has learned with."""
_LICENCE = "Apache-2.0"
_NAMES = {"heart": "Heart", "deep": "Deep"}
_DEFAULT = "heart"


def load_speech(home: Path, model: Qwen3_5OmniMoeForConditionalGeneration) -> None:
    """Fills `model.talker` and `model.code2wav`; with the polished vocoder, where its gate was passed."""
    model.talker.load_state_dict(training.weights(home / "talker.safetensors", "talker"))
    model.code2wav.load_state_dict(training.weights(vocoder_file(home), "vocoder"))


def vocoder_file(home: Path) -> Path:
    """The polished vocoder's, where its gate was passed."""
    return home / ("polished.safetensors" if (home / "polished.passed").exists() else "vocoder.safetensors")


def write_voices(home: Path, checkpoint: Path) -> None:
    """Voice files of both voices into `checkpoint`: their names, and frames from held-out speech."""
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
