"""The Talker's losses: codes with soft labels, and two auxiliary losses (attention, phonemes).

Some input frames are replaced, left out, or drawn by the Talker, because free-running speech contains errors.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from antiphon_executor.reference.talker import Talker
from antiphon_nano.speech.talker.lesson import Batch
from antiphon_nano.speech.talker.pointer import Pointer
from antiphon_nano.training import mixed_precision

PHONEMES = 200
"""Upper bound of the teacher's phoneme ids."""
SWAPPED = LEFT_OUT = 0.06
MOST_OWN = 0.6
"""Maximum share of a batch's frames that the Talker draws itself."""
SCORED = 0.4
"""Share of the frames whose groups from 1 on are trained in a step."""
ONSET_FRAMES, ONSET_SHARE = 4, 2.0
"""The first frames of an answer have no audio before them and sound worse, so they weigh more."""
POINTER_SHARE = 0.3
PHONEME_SHARE = 0.2


class TalkerLoss(nn.Module):
    """`labels`: see `talker_start.soft_labels`. The phoneme head is for training alone."""

    labels: Tensor

    def __init__(self, talker: Talker, labels: Tensor) -> None:
        super().__init__()
        self.phoneme_head = nn.Linear(talker.codec_head.in_features, PHONEMES)
        self.register_buffer("labels", labels, persistent=False)
        self._talker = [talker]
        self._pointer = Pointer(talker.model)

    @property
    def talker(self) -> Talker:
        return self._talker[0]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Scalars: `total`, and its parts. Evaluation mode leaves all input frames as they are."""
        rows = self.rows(self._with_own_frames(batch) if self.training else batch)
        with mixed_precision(rows.device):
            states = self.talker.hidden(rows)
            pointer = self._pointer_loss(batch)
            drawn = batch.codes[..., 0] >= 0
            code0 = self.talker.codec_head(states[drawn | batch.ends])
            scored = self._scored(drawn)
            residual = self.predicted(states[scored], batch.codes[scored])
            phonemes = self.phoneme_head(states[drawn])
        losses = {
            "code0": self._code0_loss(code0.float(), batch),
            "residual": self._residual_loss(residual.float(), batch.codes[scored]),
            "pointer": pointer,
            "phoneme": functional.cross_entropy(phonemes.float(), batch.phonemes[drawn]),
        }
        groups = residual.shape[1]
        total = losses["code0"] + losses["residual"] * groups / 3
        total = total + POINTER_SHARE * pointer + PHONEME_SHARE * losses["phoneme"]
        return {"total": total, **losses}

    @torch.no_grad()
    def _with_own_frames(self, batch: Batch) -> Batch:
        """The same batch with some frames drawn by the Talker, as it hears itself in free-running speech."""
        drawn = batch.codes[..., 0] >= 0
        true = batch.codes[drawn]
        erring = torch.rand(len(true), device=true.device) < MOST_OWN * torch.rand((), device=true.device)
        if not erring.any():
            return batch
        with mixed_precision(true.device):
            states = self.talker.hidden(self.rows(batch))[drawn][erring]
            code0 = self.talker.codec_head(states)[:, : self.labels.shape[1]].argmax(-1)
            others = self.predicted(states, torch.cat((code0[:, None], true[erring][:, 1:]), 1)).argmax(-1)
        entering = true.clone()
        entering[erring] = torch.cat((code0[:, None], others), 1)
        frames = batch.frames.clone()
        frames[(frames[..., 0] >= 0) & (batch.begins.cumsum(1) > 0)] = entering
        return replace(batch, frames=frames)

    def _scored(self, drawn: Tensor) -> Tensor:
        """The frames whose groups from 1 on are trained: a random part, because they cost the most."""
        if not self.training:
            return drawn
        return _onset(drawn) | drawn & (torch.rand(drawn.shape, device=drawn.device) < SCORED)

    def rows(self, batch: Batch) -> Tensor:
        """Embeddings [streams, n, hidden], as in the reference."""
        talker = self.talker
        rows = talker.text_rows(batch.tokens.clamp(min=0)) * (batch.tokens >= 0)[..., None]
        known = batch.frames[..., 0] >= 0
        rows = rows.masked_scatter(known[..., None], self._frame_rows(batch.frames[known]))
        begin = talker.code_rows([talker.config.codec_bos_id])[0]
        return torch.where(batch.begins[..., None], begin, rows)

    def predicted(self, states: Tensor, codes: Tensor) -> Tensor:
        """Logits of groups from 1 on, given all codes: [n, groups - 1, vocab]."""
        code0 = self.talker.code_rows(codes[:, 0])
        return self.talker.code_predictor(states, code0, codes[:, 1:])

    def _frame_rows(self, codes: Tensor) -> Tensor:
        if not self.training:
            return self.talker.frame_rows(codes)
        fate = torch.rand(len(codes), device=codes.device)
        swapped = torch.where(
            (fate < SWAPPED)[:, None], codes[torch.randperm(len(codes), device=codes.device)], codes
        )
        return self.talker.frame_rows(swapped) * (fate < 1 - LEFT_OUT)[:, None]

    def _code0_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        drawn = batch.codes[..., 0] >= 0
        targets = batch.codes[..., 0][drawn | batch.ends]
        entries = self.labels.shape[1]
        end = self.talker.config.codec_eos_token_id
        labels = logits.new_zeros(len(targets), logits.shape[1])
        labels[:, :entries] = self.labels[0][targets.clamp(min=0)] * (targets >= 0)[:, None]
        labels[:, end] = (targets < 0).to(labels)
        weights = 1 + (ONSET_SHARE - 1) * _onset(drawn)[drawn | batch.ends].to(labels)
        return (functional.cross_entropy(logits, labels, reduction="none") * weights).sum() / weights.sum()

    def _residual_loss(self, logits: Tensor, codes: Tensor) -> Tensor:
        groups = torch.arange(logits.shape[1], device=codes.device)
        labels = self.labels[1 + groups, codes[:, 1:]]
        return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(0, 1))

    def _pointer_loss(self, batch: Batch) -> Tensor:
        shares = self._pointer.log_attention().permute(0, 2, 1, 3)
        known = batch.spoken >= 0
        chosen = shares.gather(3, batch.spoken.clamp(min=0)[..., None])[..., 0]
        return -chosen[known].mean()


def _onset(drawn: Tensor) -> Tensor:
    """bool [streams, rows]: which of the frames `drawn` are the first of their stream."""
    return drawn & (drawn.cumsum(1) <= ONSET_FRAMES)
