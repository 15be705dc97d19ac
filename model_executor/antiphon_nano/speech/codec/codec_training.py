"""Stage 2, `python -m antiphon_nano.speech.codec.codec_training HOME`: codec, and codes of all speech.

Reads HOME/speech. Writes HOME/codec.safetensors, the codes beside each shard (int16 [frames, 8]), and
held-out speech resynthesised from codes by Griffin-Lim, for the judge.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from antiphon_nano import training
from antiphon_nano.judging.report import record
from antiphon_nano.speech.codec.codec import Codec
from antiphon_nano.speech.recordings import CODES, Recordings, step_rng
from antiphon_nano.teacher import shard

STEPS = 6000
_PIECES = 12
_FRAMES = 24
_STARTS = (150, 1000)
"""Steps at which k-means places the codebooks: when vectors carry information, and when they are stable."""
_COMMITMENT = 0.02


class CodecTraining:
    """Mel frames through encoder, quantizer and decoder. Losses: L1, squared error, commitment."""

    def __init__(self, speech: Recordings, codec: Codec, optimizer: torch.optim.Optimizer) -> None:
        self._speech = speech
        self._codec = codec
        self._optimizer = optimizer

    def step(self, number: int) -> Mapping[str, Tensor]:
        codec = self._codec
        if number == 0:
            self._measure()
        if number in _STARTS:
            codec.quantizer.start(self._vectors(number))
        mel = codec.normed_mel(self._pieces(number))
        vectors = codec.vectors(mel)
        commitment, used = mel.new_zeros(()), mel.new_zeros(())
        if codec.quantizer.started:
            vectors, codes, commitment = codec.quantizer(vectors)
            used = mel.new_tensor(len(codes[:, 0].unique()))
        vectors = vectors.unflatten(0, (len(mel), -1)).transpose(1, 2)
        with training.mixed_precision(mel.device):
            made = codec.decoder(vectors)
        made = made.float()
        distance = functional.l1_loss(made, mel)
        loss = distance + functional.mse_loss(made, mel) + _COMMITMENT * commitment
        training.clipped_step(self._optimizer, loss)
        return {"l1": distance, "commitment": commitment, "used": used}

    def _pieces(self, number: int, count: int = _PIECES) -> Tensor:
        sound = self._speech.pieces(step_rng(0, number), count, _FRAMES * shard.FRAME_SAMPLES)
        return sound.to(self._codec.mean.device)

    @torch.no_grad()
    def _measure(self) -> None:
        mel = self._codec.mel(self._pieces(-1 % 2**31, 200))
        self._codec.mean.copy_(mel.mean())
        self._codec.spread.copy_(mel.std())

    @torch.no_grad()
    def _vectors(self, number: int) -> Tensor:
        mel = self._codec.normed_mel(self._pieces(2**31 + number, 256))
        return self._codec.vectors(mel)


@torch.no_grad()
def encode(codec: Codec, folder: Path) -> None:
    """Writes the codes of every shard that has none."""
    for path in shard.all_of(folder, ""):
        target = path.with_suffix(CODES)
        if not target.exists():
            speech = shard.read(path)
            sounds = (torch.from_numpy(speech.sound(utterance)) for utterance in speech.utterances)
            encoded = [codec.encode(sound[None].to(codec.mean.device))[0] for sound in sounds]
            codes = torch.cat(encoded).cpu().numpy()
            np.save(target, codes.astype(np.int16), allow_pickle=False)
            print(f"{target.name}: {len(codes)} frames", flush=True)


def perplexities(folder: Path) -> list[float]:
    """The perplexity of each group's codes over the training speech: the effective number of entries."""
    codes = np.concatenate([np.load(path.with_suffix(CODES)) for path in shard.all_of(folder)])
    counts = [np.bincount(group, minlength=1).astype(float) for group in codes.T]
    shares = [count[count > 0] / count.sum() for count in counts]
    return [round(float(np.exp(-(share * np.log(share)).sum())), 1) for share in shares]


@torch.no_grad()
def resynthesize(codec: Codec, folder: Path, target: Path, most: int) -> None:
    """Writes held-out speech, encoded and reconstructed by Griffin-Lim, as a shard."""
    speech = shard.read(folder / "held-heart")
    chosen = speech.utterances[:most]
    sounds = []
    for utterance in chosen:
        codes = codec.encode(torch.from_numpy(speech.sound(utterance))[None])[0]
        sounds.append(codec.mel.sound(codec.decode(codes)).clamp(-1, 1).numpy())
    shard.write(target, chosen, sounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    home: Path = arguments.home
    codec = Codec().to(training.best_device())
    optimizer = torch.optim.AdamW(codec.parameters(), betas=(0.9, 0.95), weight_decay=0.01)
    plan = training.TrainingPlan(home / "codec.safetensors", arguments.steps, rate=2e-3, warmup=50)
    run = training.Training(plan, {"codec": codec}, {"codec": optimizer})
    run.run(CodecTraining(Recordings(home / "speech"), codec.train(), optimizer).step)
    codec.eval()
    encode(codec, home / "speech")
    groups = perplexities(home / "speech")
    record(home / "report.json", "codes", {"code0_perplexity": groups[0], "perplexities": groups})
    resynthesize(codec.cpu(), home / "speech", home / "judged" / "codec", 100)


if __name__ == "__main__":
    main()
