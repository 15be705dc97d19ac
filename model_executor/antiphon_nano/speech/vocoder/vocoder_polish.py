"""Stage 3b, `python -m antiphon_nano.speech.vocoder.vocoder_polish HOME`: the vocoder against discriminators.

Reads HOME/vocoder.safetensors and its training data. Writes HOME/polished.safetensors, which sounds less
metallic, and held-out speech for the judge. Optional: takes minutes on a GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeCode2Wav

from antiphon_executor.models.qwen3_5_omni.presets import nano
from antiphon_nano import training
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.speech.recordings import Recordings
from antiphon_nano.speech.vocoder.discriminators import (
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
)
from antiphon_nano.speech.vocoder.excerpt import Cut, excerpts
from antiphon_nano.speech.vocoder.spectral_loss import SpectralLoss
from antiphon_nano.speech.vocoder.vocoder import features, waveform
from antiphon_nano.speech.vocoder.vocoder_training import judged, scored

STEPS = 6000
CUT = Cut(streams=5, context=10, scored=10)
_ALONE_STEPS = 200
"""Steps that train the discriminators alone."""
_SPECTRAL_SHARE = 4.0
_LIKENESS_SHARE = 2.0


class VocoderPolish:
    """One step of the discriminators and one of the vocoder, on the same excerpts."""

    def __init__(
        self,
        speech: Recordings,
        model: Qwen3OmniMoeCode2Wav,
        rivals: Discriminators,
        ours: torch.optim.Optimizer,
        theirs: torch.optim.Optimizer,
    ) -> None:
        self._speech = speech
        self._model = model
        self._rivals = rivals
        self._ours = ours
        self._theirs = theirs
        self._spectral = SpectralLoss().to(model.device)

    def step(self, number: int) -> Mapping[str, Tensor]:
        drawn = excerpts(self._speech, 4, number, CUT)
        rows = features(self._model, drawn.codes.to(self._model.device))
        made, meant = scored(waveform, self._model, rows, drawn.sound.to(self._model.device), CUT)
        telling = discriminator_loss(self._rivals(meant), self._rivals(made.detach()))
        training.clipped_step(self._theirs, telling, norm=5.0)
        if number < _ALONE_STEPS:
            return {"telling": telling}
        spectral = self._spectral(made, meant)
        with torch.no_grad():
            recorded = self._rivals(meant)
        opinions = self._rivals(made)
        passing, likeness = adversarial_loss(opinions), feature_matching_loss(recorded, opinions)
        loss = _SPECTRAL_SHARE * spectral + passing + _LIKENESS_SHARE * likeness
        training.clipped_step(self._ours, loss, norm=5.0)
        self._theirs.zero_grad(set_to_none=True)
        return {"telling": telling, "spectral": spectral, "passing": passing, "likeness": likeness}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    home: Path = arguments.home
    device = training.best_device()
    model = Qwen3OmniMoeCode2Wav(nano(nano_tokenizer().get_vocab()).code2wav_config)
    model.load_state_dict(training.weights(home / "vocoder.safetensors", "vocoder"))
    model.to(device).train()
    rivals = Discriminators().to(device)
    ours = torch.optim.AdamW(model.parameters(), betas=(0.8, 0.99), weight_decay=0.0)
    theirs = torch.optim.AdamW(rivals.parameters(), betas=(0.8, 0.99), weight_decay=0.0)
    plan = training.TrainingPlan(home / "polished.safetensors", arguments.steps, rate=3e-4, floor=0.1)
    run = training.Training(plan, {"vocoder": model, "rivals": rivals}, {"ours": ours, "theirs": theirs})
    run.run(VocoderPolish(Recordings(home / "speech"), model, rivals, ours, theirs).step)
    model.cpu().eval()
    for kind in ("held-heart", "held-deep"):
        judged(model, home, kind, 100, "polished")


if __name__ == "__main__":
    main()
