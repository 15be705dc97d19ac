"""The export, `python -m antiphon_nano.checkpoint.export FOLDER DESTINATION`: the whole checkpoint.

It writes config, weights, tokenizer, processor, template, voices and cards from the stages' files in FOLDER.
The same files give the same bytes. Nothing is trained, and a missing file is an error.
"""

from __future__ import annotations

import argparse
import json
import shutil
from importlib import resources
from pathlib import Path

import torch
from transformers import GenerationConfig, Qwen2Tokenizer, WhisperFeatureExtractor
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeProcessor

from antiphon_executor import tiny
from antiphon_executor.checkpoint.model_card import CARD_FILE
from antiphon_executor.interface.audio_geometry import FRAME_SAMPLES, HOP_SAMPLES, SAMPLE_RATE_HZ
from antiphon_executor.interface.errors import OperatorError
from antiphon_executor.models.qwen3_5_omni.presets import nano
from antiphon_executor.reference.model import Qwen3_5OmniMoeForConditionalGeneration
from antiphon_nano import teacher
from antiphon_nano.checkpoint import unspoken_words as unheard
from antiphon_nano.checkpoint.model_card import model_card
from antiphon_nano.checkpoint.trained_speech import load_speech, vocoder_file, write_voices
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.speech.recordings import CODES, Recordings
from antiphon_nano.thinker.hearing.augmentation import MEL_BINS
from antiphon_nano.thinker.seeing import patches
from antiphon_nano.thinker.stages.polish import thinker_file
from antiphon_nano.training import weights

NAME = "antiphon-nano"
MOST_BYTES = 60_000_000
"""Upper bound of the size of all weights."""
TEXT_TEMPERATURE = 0.01
"""Practically greedy, for requests without a temperature: transformers does not accept 0."""
SPEECH = {"temperature": 0, "repetition_penalty": 1.0, "predictor_temperature": 0}
"""Default sampling of speech (see `antiphon_executor.checkpoint.model_card`).

Greedy codes have the lowest word error rate: 19 % in the trials, against 26 % at a temperature of 0.5.
"""
SPOKEN_CHARS = 80
"""Of three sentences in one answer the Talker leaves some out: its lessons are single ones."""
LISTENING = {"transcribe": "Transcribe the audio.", "translate": None, "languages": ["en"]}
REPETITION = {"max_pattern_size": 24, "min_pattern_size": 3, "min_count": 4}
"""When an answer is cut because it repeats itself. No training answer has four such parts in a row."""
NOTICE = "NOTICE"
SPECTRA = "spectra.png"
"""Two spectrograms, the teacher's and the model's. Exists after an evaluation."""
TEMPLATE = "chat_template.jinja"
"""The chat template of the family, shared with the tiny checkpoints."""
_FILLED_SOUND_S = 30


class ExportError(OperatorError):
    """The checkpoint cannot be made. The message is one line."""


def export(home: Path, destination: Path) -> int:
    """Writes the checkpoint and returns the bytes of its weights.

    Raises ExportError if a stage has not been run, or if `destination` is not empty.
    """
    _check(home, destination)
    tokenizer = nano_tokenizer()
    model = trained_model(home, tokenizer)
    destination.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(destination)
    ids = tokenizer.get_vocab()
    ends = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    drawn = {"do_sample": True, "temperature": TEXT_TEMPERATURE}
    generation = GenerationConfig(eos_token_id=ends, pad_token_id=ids["<|endoftext|>"], **drawn)
    generation.save_pretrained(destination)
    processor(tokenizer).save_pretrained(destination)
    write_voices(home, destination)
    card = {
        "name": NAME,
        "licence": "Apache-2.0",
        "speech": SPEECH,
        "repetition_detection": REPETITION,
        "listening": LISTENING,
        "spoken_chars": SPOKEN_CHARS,
    }
    (destination / CARD_FILE).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(Path(teacher.__file__).with_name(NOTICE), destination / NOTICE)
    files = list(destination.glob("*.safetensors"))
    for file in files:
        file.chmod(0o644)
    size = sum(file.stat().st_size for file in files)
    if size > MOST_BYTES:
        raise ExportError(f"the weights take {size / 1e6:.1f} MB, the limit is {MOST_BYTES / 1e6:.0f} MB")
    if (home / SPECTRA).exists():
        shutil.copyfile(home / SPECTRA, destination / SPECTRA)
    (destination / "README.md").write_text(model_card(home, model, size), encoding="utf-8")
    return size


def trained_model(home: Path, tokenizer: Qwen2Tokenizer) -> Qwen3_5OmniMoeForConditionalGeneration:
    """The complete model in the shipped dtypes: bfloat16, except that Code2Wav and the decays of the
    gated-DeltaNet layers are float32, as they are served.
    """
    with torch.random.fork_rng(devices=()):
        model = Qwen3_5OmniMoeForConditionalGeneration(nano(tokenizer.get_vocab())).float().eval()
    model.thinker.load_state_dict(weights(thinker_file(home), "thinker"))
    load_speech(home, model)
    spoken = unheard.spoken_tokens(Recordings(home / "speech"), tokenizer)
    unheard.borrow_embeddings(model.talker, tokenizer, spoken)
    for name, parameter in model.named_parameters():
        if not name.startswith("code2wav.") and not name.endswith(".A_log"):
            parameter.data = parameter.data.to(torch.bfloat16)
    return model.requires_grad_(False)


def processor(tokenizer: Qwen2Tokenizer) -> Qwen3OmniMoeProcessor:
    """The processor of text, pictures, videos and audio, with the chat template."""
    pictures, videos = patches.processors()
    extractor = WhisperFeatureExtractor(
        feature_size=MEL_BINS,
        sampling_rate=SAMPLE_RATE_HZ,
        hop_length=HOP_SAMPLES,
        n_fft=FRAME_SAMPLES,
        chunk_length=_FILLED_SOUND_S,
        return_attention_mask=True,
    )
    return Qwen3OmniMoeProcessor(
        image_processor=pictures,
        video_processor=videos,
        feature_extractor=extractor,
        tokenizer=tokenizer,
        chat_template=resources.files(tiny).joinpath(TEMPLATE).read_text(encoding="utf-8"),
    )


def _check(home: Path, destination: Path) -> None:
    speech = home / "speech"
    wanted = (
        ("Thinker", thinker_file(home)),
        ("Talker", home / "talker.safetensors"),
        ("vocoder", vocoder_file(home)),
        *(("codec", speech / f"held-{voice}{CODES}") for voice in ("heart", "deep")),
        ("speech", speech / "train-000.json"),
    )
    for stage, file in wanted:
        if not file.is_file():
            raise ExportError(f"the stage {stage!r} has not been run: {file} is missing")
    if destination.exists() and any(destination.iterdir()):
        raise ExportError(f"{destination} is not empty")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("destination", type=Path)
    arguments = parser.parse_args()
    try:
        size = export(arguments.folder, arguments.destination)
    except OperatorError as error:
        raise SystemExit(f"export: {error}") from None
    print(f"{arguments.destination}: {size / 1e6:.1f} MB of weights")


if __name__ == "__main__":
    main()
