"""Random excerpts of speech for the vocoder: codes and audio, with context that is not scored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from antiphon_nano.speech.recordings import Recordings, step_rng
from antiphon_nano.teacher.shard import FRAME_SAMPLES


@dataclass(frozen=True, slots=True)
class Cut:
    """The shape of a batch in frames. `context` is decoded but not scored."""

    streams: int
    context: int
    scored: int

    @property
    def frames(self) -> int:
        return self.context + self.scored


@dataclass(frozen=True, slots=True, eq=False)
class Excerpts:
    """`codes` [streams, groups, frames] and their `sound` [streams, frames * 1920]."""

    codes: Tensor
    sound: Tensor


def excerpts(speech: Recordings, seed: int, step: int, cut: Cut) -> Excerpts:
    """`cut.streams` positions in random utterances. Before an utterance stands its first frame, with silent
    audio.
    """
    rng = step_rng(seed, step)
    codes, sounds = [], []
    for index in speech.drawn(rng, cut.streams):
        known, sound = speech.codes(index), speech.sound(index)
        start = int(rng.integers(-cut.context, max(1, len(known) - cut.frames + 1)))
        codes.append(cut_out(known, start, cut.frames, known[:1]))
        first, length = start * FRAME_SAMPLES, cut.frames * FRAME_SAMPLES
        sounds.append(cut_out(sound, first, length, sound.new_zeros(1)))
    return Excerpts(torch.stack(codes).transpose(1, 2), torch.stack(sounds))


def cut_out(track: Tensor, start: int, length: int, filler: Tensor) -> Tensor:
    """`length` entries of `track` from `start`, which may be negative; `filler` [1, ...] where `track` has
    none.
    """
    before, behind = max(0, -start), max(0, start + length - len(track))
    inside = track[max(0, start) : start + length]
    parts = (filler.expand(before, *filler.shape[1:]), inside, filler.expand(behind, *filler.shape[1:]))
    return torch.cat(parts)
