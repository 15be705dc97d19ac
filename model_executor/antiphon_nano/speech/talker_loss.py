"""What the Talker's training minimises: codes with soft labels, and two losses that only help it learn.

In: a batch of streams. Out: losses by name. Beside code 0 (EOS among its labels) and the other groups: where
two attention heads look, and which phoneme a frame is. Some frames are swapped or left out: drawn ones err.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from antiphon_executor.reference.talker import Talker
from antiphon_nano.speech.lesson import Batch
from antiphon_nano.speech.pointer import Pointer

PHONEMES = 200
"""More than the teacher's alphabet has."""
SWAPPED = LEFT_OUT = 0.06
POINTER_SHARE = 0.3
PHONEME_SHARE = 0.2


class TalkerLoss(nn.Module):
    """`labels`: `talker_start.soft_labels`. Its one layer, the phoneme head, serves training alone."""

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
        """Scalars: `total` to minimise, and its parts. In evaluation nothing is swapped or left out."""
        rows = self.rows(batch)
        with torch.autocast(rows.device.type, torch.bfloat16):
            states = self.talker.hidden(rows)
            pointer = self._pointer_loss(batch)
            drawn = batch.codes[..., 0] >= 0
            code0 = self.talker.codec_head(states[drawn | batch.ends])
            residual = self.predicted(states[drawn], batch.codes[drawn])
            phonemes = self.phoneme_head(states[drawn])
        losses = {
            "code0": self._code0_loss(code0.float(), batch),
            "residual": self._residual_loss(residual.float(), batch.codes[drawn]),
            "pointer": pointer,
            "phoneme": functional.cross_entropy(phonemes.float(), batch.phonemes[drawn]),
        }
        groups = residual.shape[1]
        total = losses["code0"] + losses["residual"] * groups / 3
        total = total + POINTER_SHARE * pointer + PHONEME_SHARE * losses["phoneme"]
        return {"total": total, **losses}

    def rows(self, batch: Batch) -> Tensor:
        """[streams, n, hidden], as the reference embeds them."""
        talker = self.talker
        rows = talker.text_rows(batch.tokens.clamp(min=0)) * (batch.tokens >= 0)[..., None]
        known = batch.frames[..., 0] >= 0
        rows = rows.masked_scatter(known[..., None], self._frame_rows(batch.frames[known]))
        begin = talker.code_rows([talker.config.codec_bos_id])[0]
        return torch.where(batch.begins[..., None], begin, rows)

    def predicted(self, states: Tensor, codes: Tensor) -> Tensor:
        """Logits of groups 1 … where all codes are known: [n, groups - 1, vocab]."""
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
        return functional.cross_entropy(logits, labels)

    def _residual_loss(self, logits: Tensor, codes: Tensor) -> Tensor:
        groups = torch.arange(logits.shape[1], device=codes.device)
        labels = self.labels[1 + groups, codes[:, 1:]]
        return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(0, 1))

    def _pointer_loss(self, batch: Batch) -> Tensor:
        shares = self._pointer.log_shares().permute(0, 2, 1, 3)
        known = batch.spoken >= 0
        chosen = shares.gather(3, batch.spoken.clamp(min=0)[..., None])[..., 0]
        return -chosen[known].mean()
