"""What rehearsal minimises: takes that were understood well become likelier, others less likely.

In: takes as lessons, each with its advantage; the Talker, and what it was before. Out: losses. Code 0 alone
is taught, since behind a true one the other groups hardly err; both are held near to what they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from antiphon_executor.reference.talker import Talker
from antiphon_nano.speech.lesson import Batch, Lesson, batch_of
from antiphon_nano.speech.takes import allowed
from antiphon_nano.speech.talker_loss import stream_rows

_NEAR, _RESIDUAL = 0.05, 0.5
"""Shares of what keeps code 0 near to what it was, and the other groups."""


@dataclass(frozen=True, slots=True, eq=False)
class Rehearsed:
    """A take behind its prompt, and by how much it was understood better than the others of its text.
    `ended`: EOS was drawn behind its last frame.
    """

    lesson: Lesson
    advantage: float
    ended: bool


class RehearsalLoss:
    """`temperature`: at which the takes were drawn."""

    def __init__(self, talker: Talker, before: Talker, temperature: float) -> None:
        self._talker, self._before, self._temperature = talker, before, temperature

    def __call__(self, part: Sequence[Rehearsed]) -> dict[str, Tensor]:
        """Sums over all frames: `total` to minimise, and its parts `gain`, `apart` and `residual`."""
        batch = batch_of([one.lesson for one in part])
        drawn = batch.codes[..., 0] >= 0
        told = drawn | batch.ends
        codes = batch.codes[drawn]
        with torch.autocast(self._talker.device.type, torch.bfloat16):
            logits, residual = _logits(self._talker, batch, told, drawn)
            with torch.no_grad():
                old_logits, old_residual = _logits(self._before, batch, told, drawn)
        mask = allowed(self._talker, _behind_text(batch)[told])
        shares, old_shares = (self._log_shares(logits, mask), self._log_shares(old_logits, mask))
        advantage = torch.tensor([one.advantage for one in part])[:, None].expand_as(told)
        counts = drawn | (batch.ends & torch.tensor([one.ended for one in part])[:, None])
        code0 = batch.codes[..., 0][told]
        code0 = torch.where(code0 < 0, self._talker.config.codec_eos_token_id, code0)
        likely = shares.gather(1, code0[:, None])[:, 0]
        losses = {
            "gain": -((advantage * counts)[told] * likely).sum(),
            "apart": _apart(shares, old_shares),
            "residual": _apart(residual.float().log_softmax(-1), old_residual.float().log_softmax(-1))
            / codes.shape[1],
        }
        total = losses["gain"] + _NEAR * losses["apart"] + _RESIDUAL * losses["residual"]
        return {"total": total, **losses}

    def _log_shares(self, logits: Tensor, mask: Tensor) -> Tensor:
        return (logits.float() / self._temperature).masked_fill(~mask, -1e9).log_softmax(-1)


def _logits(talker: Talker, batch: Batch, told: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Of code 0 where something is `told`, EOS among it; of the other groups where a frame is `drawn`."""
    known = batch.frames[..., 0] >= 0
    states = talker.hidden(stream_rows(talker, batch, talker.frame_rows(batch.frames[known])))
    codes = batch.codes[drawn]
    residual = talker.code_predictor(states[drawn], talker.code_rows(codes[:, 0]), codes[:, 1:])
    return talker.codec_head(states[told]), residual


def _behind_text(batch: Batch) -> Tensor:
    """Bool [streams, n]: the row stands behind all of its stream's text, or is its end."""
    is_text = batch.tokens >= 0
    last = is_text.shape[1] - 1 - is_text.flip(1).int().argmax(1)
    return torch.arange(is_text.shape[1], device=is_text.device) >= last[:, None]


def _apart(shares: Tensor, before: Tensor) -> Tensor:
    """The sum over all rows of the divergence of log-probabilities from what they were before."""
    return functional.kl_div(shares, before, log_target=True, reduction="sum")
