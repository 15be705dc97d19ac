"""A frame's row is the sum of its codes' embeddings and its text row, in every version."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from antiphon_kernels import dispatch, frame_embedding, frame_embedding_triton
from tests.kernels.conftest import assert_close_for, normal


def case(
    frames: int, vocabularies: list[int], hidden: int, dtype: torch.dtype, device: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    sizes = torch.tensor([0, *vocabularies])
    generator = torch.Generator().manual_seed(3)
    codes = (torch.rand(frames, len(vocabularies), generator=generator) * sizes[1:]).long()
    table = normal(sum(vocabularies), hidden, dtype=dtype, device=device)
    text = normal(frames, hidden, dtype=dtype, device=device, seed=1)
    return codes.to(device), table, sizes.cumsum(0)[:-1].to(device), text


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("frames", "hidden"), [(1, 64), (5, 300), (3, 1024)])
def test_the_triton_version_agrees_with_the_reference(
    frames: int, hidden: int, dtype: torch.dtype, device: str
) -> None:
    arguments = case(frames, [48] + 15 * [32], hidden, dtype, device)

    expected = frame_embedding.reference(*arguments)
    assert_close_for(dtype, frame_embedding_triton.frame_embedding(*arguments), expected)


def test_every_group_looks_up_its_own_vocabulary() -> None:
    codes, table, offsets, text = case(4, [7, 3, 5], 16, torch.float32, "cpu")

    rows = dispatch.frame_embedding(codes, table, offsets, text)

    first, second, third = table.split([7, 3, 5])
    expected = first[codes[:, 0]] + second[codes[:, 1]] + third[codes[:, 2]] + text
    torch.testing.assert_close(rows, expected)
