"""Uploads to a GPU are pinned and do not wait; on a CPU nothing is copied."""

from __future__ import annotations

from typing import Any

import torch

from antiphon_executor.models.talker.upload import numbers, uploaded


class Pageable:
    """In place of a tensor of the host: notes what is asked of it."""

    dtype = torch.float32

    def __init__(self) -> None:
        self.asked: list[str] = []

    def pin_memory(self) -> Pageable:
        self.asked.append("pinned")
        return self

    def to(self, target: Any, non_blocking: bool = False) -> Pageable:
        self.asked.append(f"{target}{' without waiting' if non_blocking else ''}")
        return self


def test_a_gpu_copies_from_pinned_memory_and_casts_there() -> None:
    values: Any = Pageable()
    uploaded(values, torch.device("cuda"), torch.bfloat16)
    assert values.asked == ["pinned", "cuda without waiting", "torch.bfloat16"]


def test_on_a_cpu_the_tensor_itself_is_used() -> None:
    values = torch.arange(3.0)
    assert uploaded(values, torch.device("cpu")) is values
    assert uploaded(values, torch.device("cpu"), torch.bfloat16).dtype is torch.bfloat16
    assert numbers([[1, 2], [3, 4]], torch.device("cpu")).tolist() == [[1, 2], [3, 4]]
