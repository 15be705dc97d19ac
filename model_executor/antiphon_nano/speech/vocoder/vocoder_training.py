"""Stage 3, `python -m antiphon_nano.speech.vocoder.vocoder_training HOME`: Code2Wav learns codes to speech.

Reads HOME/speech with codes and HOME/codec.safetensors. Writes HOME/vocoder.safetensors, and held-out
speech for the judge. Trains a mel head on the decoder's input first, then the waveform.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav

from antiphon_executor.models.qwen3_5_omni.presets import nano
from antiphon_nano import training
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.speech.codec.codec import Codec, loaded_codec
from antiphon_nano.speech.recordings import Recordings
from antiphon_nano.speech.vocoder.excerpt import Cut, excerpts
from antiphon_nano.speech.vocoder.spectral_loss import SpectralLoss
from antiphon_nano.speech.vocoder.vocoder import (
    DECODER_CONTEXT_FRAMES,
    features,
    fresh_vocoder,
    waveform,
)
from antiphon_nano.teacher import shard
from antiphon_nano.teacher.shard import FRAME_SAMPLES

STEPS = 7000
MEL_STEPS = 700
_MEL_SHARE = 0.5
_MELS_PER_ROW = 2
WaveformFunction = Callable[[Qwen3OmniMoeCode2Wav, Tensor], Tensor]
"""`vocoder.waveform`, or its compiled version."""
MEL_CUT = Cut(streams=12, context=6, scored=14)
SOUND_CUT = Cut(streams=5, context=10, scored=14)


class MelHead(nn.Module):
    """Features [streams, hidden, n] to normalised log-mels [streams, mels, n * 2]. For training alone."""

    def __init__(self, hidden: int, mels: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(hidden, mels * _MELS_PER_ROW, 1)

    def forward(self, rows: Tensor) -> Tensor:
        return self.linear(rows).unflatten(1, (-1, _MELS_PER_ROW)).transpose(2, 3).flatten(2)


class VocoderTraining:
    """Generated audio against the recording that the codes were made of.

    `compiled`: fuses the decoder's many small operations, which needs a C++ compiler and halves the time.
    """

    def __init__(
        self,
        speech: Recordings,
        codec: Codec,
        model: Qwen3OmniMoeCode2Wav,
        head: MelHead,
        optimizer: torch.optim.Optimizer,
        compiled: bool = False,
    ) -> None:
        self._speech = speech
        self._codec = codec
        self._model = model
        self._head = head
        self._optimizer = optimizer
        self._spectral = SpectralLoss().to(model.device)
        self._waveform = torch.compile(waveform) if compiled else waveform

    def step(self, number: int) -> Mapping[str, Tensor]:
        if number < MEL_STEPS:
            codes, sound = self.batch(number, MEL_CUT)
            mel = self._mel_loss(features(self._model, codes), sound)
            training.clipped_step(self._optimizer, mel)
            return {"mel": mel}
        codes, sound = self.batch(number, SOUND_CUT)
        rows = features(self._model, codes)
        made, meant = scored(self._waveform, self._model, rows, sound, SOUND_CUT)
        spectral, mel = self._spectral(made, meant), self._mel_loss(rows, sound)
        training.clipped_step(self._optimizer, spectral + _MEL_SHARE * mel, norm=2.0)
        return {"spectral": spectral, "mel": mel}

    def batch(self, number: int, cut: Cut) -> tuple[Tensor, Tensor]:
        """Codes [streams, groups, frames] and their audio [streams, frames * 1920]."""
        drawn = excerpts(self._speech, 1, number, cut)
        return drawn.codes.to(self._model.device), drawn.sound.to(self._model.device)

    def _mel_loss(self, rows: Tensor, sound: Tensor) -> Tensor:
        return functional.l1_loss(self._head(rows), self._codec.normed_mel(sound))


def scored(
    sounding: WaveformFunction, model: Qwen3OmniMoeCode2Wav, rows: Tensor, sound: Tensor, cut: Cut
) -> tuple[Tensor, Tensor]:
    """The scored samples, generated and recorded. Only the `rows` that they depend on are decoded."""
    kept = cut.scored + DECODER_CONTEXT_FRAMES
    made = sounding(model, rows[..., -kept * 4 :])[:, DECODER_CONTEXT_FRAMES * FRAME_SAMPLES :]
    meant = sound[:, cut.context * FRAME_SAMPLES :][:, : made.shape[1]]
    return made, meant


@torch.no_grad()
def sounds_of(model: Qwen3OmniMoeCode2Wav, codes: Sequence[Tensor]) -> list[Tensor]:
    """Codes [frames, groups] of each to [frames * 1920], filled with silence at the end."""
    made = [model(track.T[None])[0, 0] for track in codes]
    return [functional.pad(one, (0, -len(one) % FRAME_SAMPLES)) for one in made]


def judged(model: Qwen3OmniMoeCode2Wav, home: Path, kind: str, most: int, name: str = "vocoder") -> None:
    """Writes held-out speech through codes and vocoder as the shard HOME/judged/NAME-KIND."""
    speech = Recordings(home / "speech", kind)
    chosen = range(min(most, len(speech)))
    made = sounds_of(model, [speech.codes(index) for index in chosen])
    utterances, frames = [], 0
    for index, sound in zip(chosen, made, strict=True):
        old = speech.utterance(index)
        utterances.append(shard.Utterance(old.text, old.voice, frames, len(sound) // FRAME_SAMPLES, [], []))
        frames += utterances[-1].frames
    shard.write(home / "judged" / f"{name}-{kind}", utterances, [sound.numpy() for sound in made])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--compile", action="store_true", help="fuse the decoder; needs a C++ compiler")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    home: Path = arguments.home
    device = training.best_device()
    codec = loaded_codec(home)
    config = nano(nano_tokenizer().get_vocab()).code2wav_config
    model = fresh_vocoder(config, codec.quantizer.codebooks).to(device)
    head = MelHead(config.hidden_size, codec.mel.bank.shape[0]).to(device)
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, betas=(0.8, 0.95), weight_decay=0.01)
    plan = training.TrainingPlan(home / "vocoder.safetensors", arguments.steps, rate=1.5e-3)
    run = training.Training(plan, {"vocoder": model, "head": head}, {"vocoder": optimizer})
    speech = Recordings(home / "speech")
    work = VocoderTraining(speech, codec.to(device), model.train(), head, optimizer, arguments.compile)
    run.run(work.step)
    model.cpu().eval()
    for kind in ("held-heart", "held-deep"):
        judged(model, home, kind, 100)


if __name__ == "__main__":
    main()
