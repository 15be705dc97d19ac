"""The rows of one Talker step: the slot of each request, and the request and place of each token."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, eq=False)
class StepRows:
    """R requests, N tokens; all int64 on the device.

    `slot` [R], the padding slot for padding rows; `seq_len` [R], tokens known after the step;
    `token_request` [N]; `token_index` [N], a token's place in its sequence.
    """

    slot: torch.Tensor
    seq_len: torch.Tensor
    token_request: torch.Tensor
    token_index: torch.Tensor
