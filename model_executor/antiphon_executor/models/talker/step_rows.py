"""The rows of one Talker step: the slot of each request, and the request and place of each token."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from antiphon_executor.models.talker.slots import PADDING_SLOT


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

    @classmethod
    def of_requests(
        cls, slot: torch.Tensor, bounds: torch.Tensor, seq_lens: torch.Tensor, tokens: int
    ) -> StepRows:
        """Requests without tokens are padding.

        `slot` int64 [R]; `bounds` [R + 1], each request's first token and the end; `seq_lens` [R].
        """
        seq_len = seq_lens.to(torch.int64)
        request, behind = token_requests(bounds, tokens)
        real = bounds[1:] > bounds[:-1]
        return cls(torch.where(real, slot, PADDING_SLOT), seq_len, request, seq_len[request] - behind)


def token_requests(bounds: torch.Tensor, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """For each token [N]: its request, and its distance from that request's end."""
    end = bounds[1:].to(torch.int64)
    token = torch.arange(tokens, device=bounds.device)
    request = torch.searchsorted(end, token, right=True).clamp(max=end.shape[0] - 1)
    return request, end[request] - token
