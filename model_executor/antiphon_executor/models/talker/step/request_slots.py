"""The slot of each of vLLM's requests, kept on the device by the request's index in the runner."""

from __future__ import annotations

import torch
from vllm.forward_context import get_forward_context
from vllm.v1.worker.gpu.input_batch import InputBatch

from antiphon_executor.models.talker.slots import PADDING_SLOT
from antiphon_executor.models.talker.step_rows import StepRows

# Checked against the installed vLLM by tests/test_vllm_internals.py.
VLLM_INTERNALS = {
    "vllm.v1.worker.gpu.input_batch.InputBatch": ("idx_mapping", "query_start_loc", "seq_lens"),
}


class RequestSlots:
    """`slot_base`: the token id of slot 0; a prompt begins with the token of its slot.

    `rows` reads buffers whose addresses do not change, so a CUDA graph may contain it.
    """

    def __init__(self, requests: int, *, slot_base: int, slots: int, device: torch.device) -> None:
        self._slot_base, self._slots = slot_base, slots
        self._put = torch.full((requests,), PADDING_SLOT, dtype=torch.int64)
        self._by_request = self._put.to(device, copy=True)
        self._slot = self._put.to(device, copy=True)
        self._bounds = self._seq_lens = torch.zeros(0, dtype=torch.int32, device=device)

    def put(self, request: int, first_token: int) -> None:
        """Sets a request's slot; a prompt that names none, as in vLLM's warm-up, has the padding slot."""
        slot = first_token - self._slot_base
        self._put[request] = slot if 0 <= slot < self._slots else PADDING_SLOT

    def upload(self) -> None:
        """Makes what was `put` known to the next step, without waiting for the one in flight."""
        put = self._put.pin_memory() if self._by_request.is_cuda else self._put
        self._by_request.copy_(put, non_blocking=True)

    def enter(self, batch: InputBatch, *, slots: bool = True) -> None:
        """Begins a step of the batch. Without `slots`, for a capture, all its rows are padding."""
        self._bounds, self._seq_lens = batch.query_start_loc, batch.seq_lens
        if slots:
            known = self._slot[: batch.idx_mapping.shape[0]]
            torch.index_select(self._by_request, 0, batch.idx_mapping, out=known)
        else:
            self._slot.fill_(PADDING_SLOT)

    def rows(self, tokens: int) -> StepRows | None:
        """The rows of the step of [N] tokens; None in a profiling run, which has no attention metadata."""
        if get_forward_context().attn_metadata is None:
            return None
        count = self._seq_lens.shape[0]
        return StepRows.of_requests(self._slot[:count], self._bounds, self._seq_lens, tokens)
