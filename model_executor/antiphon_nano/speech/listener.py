"""Speech → how well it is understood, by the Thinker's own ears: a judge that costs next to nothing.

In: the joint stage's audio tower and the words that its aid reads off it; sounds at 24 kHz with their texts.
Out: the loss of each text, per word. It is no judge of figures: those are Whisper's, which is never learned
from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from antiphon_executor.thinker.log_mel import log_mel
from antiphon_nano.domain.tokenizer import nano_tokenizer
from antiphon_nano.thinker import network
from antiphon_nano.thinker.aids import EarAids
from antiphon_nano.thinker.hearing.listening import MEL_BINS, Way, known, samples, word_ids
from antiphon_nano.training import weights


class Listener:
    """`checkpoint`: of the joint stage."""

    def __init__(self, checkpoint: Path) -> None:
        config = network.nano_config(nano_tokenizer())
        self._tower = network.nano_thinker(config).audio_tower.eval().requires_grad_(False)
        towers = "audio_tower."
        state = weights(checkpoint, "thinker")
        self._tower.load_state_dict(
            {name.removeprefix(towers): state[name] for name in state if name.startswith(towers)}
        )
        self._aids = EarAids(config.audio_config.d_model).eval().requires_grad_(False)
        self._aids.load_state_dict(weights(checkpoint, "ears"))

    @torch.no_grad()
    def misses(self, sounds: Sequence[Tensor], texts: Sequence[str]) -> list[float]:
        """Of each sound float32 [samples] what the words of its text lose by CTC, in nats a word; infinite
        where it is too short for them.
        """
        mels = [log_mel(samples(sound.numpy(), Way()), MEL_BINS) for sound in sounds]
        lengths = [self._tower.geometry.tokens(mel.shape[1]) for mel in mels]
        told = self._aids.words(network.listen(self._tower, mels)).float().log_softmax(-1).split(lengths)
        return [_miss(part, word_ids(known(text))) for part, text in zip(told, texts, strict=True)]


def _miss(told: Tensor, said: list[int]) -> float:
    """`told` [tokens, 1 + words], blank first."""
    targets = torch.tensor([[word + 1 for word in said]])
    sizes = torch.tensor([len(told)]), torch.tensor([len(said)])
    return float(functional.ctc_loss(told[:, None], targets, *sizes, reduction="sum")) / max(1, len(said))
