"""The fused draw chooses the codes that its reference chooses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from antiphon_kernels import draw, draw_triton
from tests.kernels.conftest import normal

pytestmark = pytest.mark.usefixtures("interpreted_reductions")

VOCABULARIES = (2_048, 3_072, 130)


def full(value: float, rows: int, dtype: torch.dtype, device: str) -> Tensor:
    return torch.full((rows,), value, dtype=dtype, device=device)


def both(scores: Tensor, temperature: float, top_k: int, top_p: float) -> tuple[list[int], list[int]]:
    n, device = scores.shape[0], str(scores.device)
    key = draw.mixed(torch.arange(n, device=device) * 1_000_003)
    arguments = (
        full(temperature, n, torch.float32, device),
        full(top_k, n, torch.int64, device),
        full(top_p, n, torch.float32, device),
        key,
    )
    return draw.reference(scores, *arguments).tolist(), draw_triton.draw(scores, *arguments).tolist()


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, 50, 0.8), (0.9, 50, 1.0), (0.3, 64, 0.95), (1.7, 3, 0.5), (1.0, 1, 1.0), (1.0, 50, 1e-6)],
)
def test_the_kernel_draws_what_the_reference_draws(
    device: str, vocabulary: int, temperature: float, top_k: int, top_p: float
) -> None:
    scores = 3 * normal(4, vocabulary, device=device)
    expected, drawn = both(scores, temperature, top_k, top_p)
    assert drawn == expected


def test_a_temperature_of_zero_takes_the_first_of_the_best(device: str) -> None:
    scores = normal(4, 300, device=device)
    scores[:, [7, 90]] = 9.0
    expected, drawn = both(scores, 0.0, 50, 0.8)
    assert drawn == expected == [7] * 4


def test_scores_that_are_equal_to_the_last_candidate_stay(device: str) -> None:
    """Four equal scores and a top-k of 2: each of the four is drawn sometimes."""
    scores = torch.full((60, 128), -5.0, device=device)
    scores[:, 40:44] = 2.0
    expected, drawn = both(scores, 1.0, 2, 1.0)
    assert drawn == expected
    assert set(drawn) == set(range(40, 44))


def test_codes_that_are_suppressed_are_never_drawn(device: str) -> None:
    scores = normal(6, 200, device=device)
    scores[:, 20:] = -torch.inf
    expected, drawn = both(scores, 1.5, 64, 1.0)
    assert drawn == expected
    assert max(drawn) < 20
