"""Compares an engine's answer in bfloat16 with the reference's in float32, by the typical step.

Rounding differs between CPUs, and near ties may flip a token or an expert, so the worst step is not judged.
Each token is compared after the tokens that the engine really generated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.parity.thinker.engine import Answer
from tests.parity.thinker.qwen3_5_oracle import Truth

STEPS = 32
# Seen in bfloat16, with and without AVX-512; then against another number or other pictures in the prompt:
LOGPROB_BLUR = 0.15  # up to 0.08; from 0.59
REGRET = 0.05  # up to 0.021; from 0.064
ROW_BLUR = 0.06  # up to 0.039; from 0.085


@dataclass(frozen=True)
class Judgement:
    """`logprob_error`: the greatest of a step's top log-probabilities, the median of all steps.

    `regret`: by how much the said tokens are less probable than the best, in nats a token. `row_error`: the
    length of a media row's error in parts of the row's, the median of all; 0 if there are none.
    """

    logprob_error: float
    regret: float
    row_error: float

    @classmethod
    def of(cls, answer: Answer, truth: Truth) -> Judgement:
        errors = [
            max(abs(logprob - float(truth.logprobs[step, token])) for token, logprob in top.items())
            for step, top in enumerate(answer.logprobs)
        ]
        said = truth.logprobs[np.arange(len(answer.answer)), answer.answer]
        true = truth.accepted[answer.rows.row_index]
        row_errors = np.linalg.norm(answer.rows.rows - true, axis=1) / np.linalg.norm(true, axis=1)
        return cls(
            logprob_error=float(np.median(errors)),
            regret=float((truth.logprobs.max(axis=1) - said).mean()),
            row_error=float(np.median(row_errors)) if len(true) else 0.0,
        )

    @property
    def is_blur(self) -> bool:
        """Whether it is no more than bfloat16's."""
        return self.logprob_error < LOGPROB_BLUR and self.regret < REGRET and self.row_error < ROW_BLUR
