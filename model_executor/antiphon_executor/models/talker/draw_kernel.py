"""The draw of code 0 by the C++ kernels, where they are built; else by PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from antiphon_executor.models.talker import sampling as by_torch
from antiphon_executor.models.talker.sampling import Sampling
from antiphon_kernels.native.library import MAX_VOCAB, library


def draw_code0(logits: Tensor, sampling: Sampling, seen: Tensor, suppressed: Tensor) -> Tensor:
    """As `sampling.draw_code0`, with `suppressed` bool [n, codec_vocab]."""
    found = library() if logits.device.type == "cpu" and logits.shape[1] <= MAX_VOCAB else None
    if found is None:
        return by_torch.draw_code0(logits, sampling, seen, suppressed)
    n, vocab = logits.shape
    scores = logits.to(torch.float32, copy=True)
    seen, suppressed = seen.contiguous(), suppressed.contiguous()
    codes = torch.empty(n, dtype=torch.int64)
    found.antiphon_draw_code0(
        scores.data_ptr(),
        seen.data_ptr(),
        suppressed.data_ptr(),
        vocab,
        n,
        sampling.repetition_penalty.data_ptr(),
        sampling.temperature.data_ptr(),
        sampling.top_k.data_ptr(),
        sampling.top_p.data_ptr(),
        sampling.seed.data_ptr(),
        sampling.frame.data_ptr(),
        codes.data_ptr(),
    )
    return codes
