"""How an answer of the engine, in bfloat16, stands to the reference's, in float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.parity.thinker.engine import Answer
from tests.parity.thinker.qwen3_5_oracle import Truth

STEPS = 32
# What bfloat16 blurs in four layers of this checkpoint: in log-probability, and of a row's length.
LOGPROB_BLUR = 0.2
ROW_BLUR = 0.06
# Least lead of a step's best token: two tokens that are blurred alike keep their order.
MARGIN = 0.05
AMPLE_MARGIN = 0.07


@dataclass(frozen=True)
class Judgement:
    """`margin`: the least of all steps. `logprob_error`: the greatest over all top log-probabilities.

    `row_error`: the length of a media row's error in parts of the row's, the median of all: where two experts
    nearly tie, bfloat16 may choose the other, and that row is another.
    """

    same_text: bool
    margin: float
    logprob_error: float
    row_error: float

    @classmethod
    def of(cls, answer: Answer, truth: Truth) -> Judgement:
        errors = [
            abs(logprob - float(truth.logprobs[step, token]))
            for step, top in enumerate(answer.logprobs)
            for token, logprob in top.items()
        ]
        true = truth.accepted[answer.rows.row_index]
        row_errors = np.linalg.norm(answer.rows.rows - true, axis=1) / np.linalg.norm(true, axis=1)
        return cls(
            same_text=answer.answer == truth.choice,
            margin=float(truth.margin.min()),
            logprob_error=max(errors),
            row_error=float(np.median(row_errors)) if len(true) else 0.0,
        )

    @property
    def clearness(self) -> float:
        """The margin; less one where the take shows more than a blur."""
        return self.margin if self.same_text and self.logprob_error < LOGPROB_BLUR else self.margin - 1

    @property
    def is_ample(self) -> bool:
        return self.clearness > AMPLE_MARGIN
