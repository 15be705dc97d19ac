"""Draws codes from logits on the device, so that a stream's codes depend only on the stream itself.

The noise is a hash of (seed, frame, group, code), so batching, preemption and chunking do not change it. No
host sync, and no shape depends on data.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import msgspec
import torch
from torch import Tensor

from antiphon_executor.interface.request import MAX_SPEECH_TOP_K
from antiphon_kernels import dispatch
from antiphon_kernels.draw import GOLDEN, mixed

MAX_TOP_K = MAX_SPEECH_TOP_K
RESIDUAL_TEMPERATURE = 1.0  # transformers passes top-k and top-p to its predictor, but no temperature
SUPPRESSED_TAIL = 1_024

_MAX_GROUPS = 64


class StreamSampling(msgspec.Struct, frozen=True):
    """Sampling parameters of one stream. A temperature of 0 is greedy, in every code group.

    ValueError for a value out of range: top-k is 1 to `MAX_TOP_K`, top-p above 0 and at most 1.
    """

    seed: int
    temperature: float = 0.9
    top_k: int = 50
    top_p: float = 1.0
    repetition_penalty: float = 1.05
    predictor_temperature: float = RESIDUAL_TEMPERATURE
    predictor_top_k: int = 50
    predictor_top_p: float = 0.8

    def __post_init__(self) -> None:
        if not -(1 << 63) <= self.seed < 1 << 63:
            raise ValueError("seed must fit 64 bits, signed")
        if not (1 <= self.top_k <= MAX_TOP_K and 1 <= self.predictor_top_k <= MAX_TOP_K):
            raise ValueError(f"top_k and predictor_top_k must be 1 to {MAX_TOP_K}")
        if not (0 < self.top_p <= 1 and 0 < self.predictor_top_p <= 1):
            raise ValueError("top_p and predictor_top_p must be above 0 and at most 1")
        if self.temperature < 0 or self.predictor_temperature < 0 or self.repetition_penalty <= 0:
            raise ValueError("temperatures must not be negative, and repetition_penalty must be positive")


@dataclass(frozen=True, slots=True)
class Sampling:
    """Parameters of the rows of one step, each [n] on the device, contiguous.

    Temperatures, top-ps and `repetition_penalty` are float32, the rest int64. `frame`: index in its stream of
    the frame whose codes are drawn, the same for all code groups.
    """

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    repetition_penalty: Tensor
    predictor_temperature: Tensor
    predictor_top_k: Tensor
    predictor_top_p: Tensor
    seed: Tensor
    frame: Tensor


@dataclass(frozen=True, slots=True)
class SlotSampling:
    """Parameters of all slots, each [slots] on the device: set when a stream opens, gathered in a step."""

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    repetition_penalty: Tensor
    predictor_temperature: Tensor
    predictor_top_k: Tensor
    predictor_top_p: Tensor
    seed: Tensor

    @classmethod
    def empty(cls, slots: int, device: torch.device) -> SlotSampling:
        """All slots greedy with seed 0, which is harmless for padding rows."""
        harmless = StreamSampling(seed=0, temperature=0.0, repetition_penalty=1.0)
        values = {field.name: getattr(harmless, field.name) for field in fields(cls)}
        dtypes = {name: torch.int64 if isinstance(v, int) else torch.float32 for name, v in values.items()}
        return cls(**{n: torch.full((slots,), v, dtype=dtypes[n], device=device) for n, v in values.items()})

    def put(self, slot: int, sampling: StreamSampling) -> None:
        """Sets one slot's parameters."""
        for field in fields(self):
            getattr(self, field.name)[slot] = getattr(sampling, field.name)

    def rows(self, slot: Tensor, frame: Tensor) -> Sampling:
        """The parameters of one step. `slot`, `frame`: int64 [n]."""
        gathered = {field.name: getattr(self, field.name)[slot] for field in fields(self)}
        return Sampling(**gathered, frame=frame)


def suppressed_codes(codec_vocab: int, eos: int, device: torch.device, tail: int = SUPPRESSED_TAIL) -> Tensor:
    """bool [codec_vocab]: the last `tail` ids except EOS, which are never drawn as code 0.

    transformers' `generate` suppresses 1,024. ValueError if only EOS would be left, or EOS is out of range.
    """
    if codec_vocab <= tail or not 0 <= eos < codec_vocab:
        raise ValueError(f"a codec vocabulary of {codec_vocab} with EOS {eos} leaves no codes to draw")
    mask = torch.arange(codec_vocab, device=device) >= codec_vocab - tail
    mask[eos] = False
    return mask


def draw_code0(logits: Tensor, sampling: Sampling, seen: Tensor, suppressed: Tensor) -> Tensor:
    """Code 0, or EOS, of each row: int64 [n].

    `logits`: [n, codec_vocab]; `seen`: bool [n, codec_vocab], the code-0 ids that the stream has drawn;
    `suppressed`: bool [codec_vocab] or [n, codec_vocab]. Order as in transformers' `generate`: repetition
    penalty, suppression, temperature, top-k, top-p.
    """
    scores = code0_scores(logits, sampling.repetition_penalty, seen, suppressed)
    key = noise_keys(sampling, 1)[0]
    return dispatch.draw(scores, sampling.temperature, sampling.top_k, sampling.top_p, key)


class ResidualDraw:
    """Draws the codes of groups 1 to `groups` - 1 of one frame; `CodePredictor` calls it after every pass.

    Temperature, top-k, top-p, in transformers' order. A row whose Talker `temperature` is 0 is greedy here
    too, as in transformers, where the predictor's `do_sample` follows the Talker's. draw.h draws the same in
    the C++ kernels.
    """

    def __init__(self, sampling: Sampling, groups: int) -> None:
        self.sampling = sampling
        self.temperature = torch.where(sampling.temperature > 0, sampling.predictor_temperature, 0.0)
        self._groups = groups
        self._keys: Tensor | None = None

    def __call__(self, logits: Tensor, group: int) -> Tensor:
        """The code of `group` of each row: int64 [n]. `logits`: [n, vocab]."""
        if self._keys is None:
            self._keys = noise_keys(self.sampling, self._groups)
        top_k, top_p = self.sampling.predictor_top_k, self.sampling.predictor_top_p
        return dispatch.draw(logits.float(), self.temperature, top_k, top_p, self._keys[group])


def code0_scores(logits: Tensor, penalty: Tensor, seen: Tensor, suppressed: Tensor) -> Tensor:
    """Logits after repetition penalty and suppression, float32 [n, codec_vocab]."""
    scores = logits.float()
    by = penalty.unsqueeze(1)
    scores = torch.where(seen, torch.where(scores < 0, scores * by, scores / by), scores)
    return scores.masked_fill(suppressed, -torch.inf)


def noise_keys(sampling: Sampling, groups: int) -> Tensor:
    """The hash of (seed, frame, group) for groups 0 to `groups` - 1: int64 [groups, n]."""
    group = torch.arange(groups, device=sampling.seed.device).unsqueeze(1)
    return mixed(mixed(sampling.seed + GOLDEN) ^ mixed(sampling.frame * _MAX_GROUPS + group))
