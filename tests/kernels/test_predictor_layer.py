"""The predictor's fused operations compute what their references define."""

from __future__ import annotations

import pytest
import torch

from antiphon_kernels import predictor_layer, predictor_layer_triton
from tests.kernels.conftest import assert_close_for, normal

pytestmark = pytest.mark.usefixtures("interpreted_reductions")

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
EPS = 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", [64, 96])
def test_a_sum_and_its_norm(device: str, dtype: torch.dtype, hidden: int) -> None:
    rows, update = (normal(3, 2, hidden, dtype=dtype, device=device, seed=seed) for seed in (1, 2))
    weight = normal(hidden, dtype=dtype, device=device, seed=3)
    total, normed = predictor_layer_triton.add_norm(rows, update, weight, EPS)
    expected_total, expected = predictor_layer.add_norm(rows, update, weight, EPS)
    assert_close_for(dtype, total, expected_total)
    assert_close_for(dtype, normed, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [48, 1_500])
def test_a_gated_activation(device: str, dtype: torch.dtype, width: int) -> None:
    gate_up = normal(2, 1, 2 * width, dtype=dtype, device=device)
    assert_close_for(dtype, predictor_layer_triton.gated(gate_up), predictor_layer.gated(gate_up))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("steps", "start"), [(2, 0), (1, 5)])
def test_heads_turn_and_the_cache_keeps_its_other_places(
    device: str, dtype: torch.dtype, steps: int, start: int
) -> None:
    queries, kv_heads, size, places = 4, 2, 16, 8
    heads = normal(3, steps, queries + 2 * kv_heads, size, dtype=dtype, device=device)
    cosine, sine = (
        normal(places, queries + kv_heads, size, dtype=dtype, device=device, seed=s) for s in (4, 5)
    )
    caches = [normal(3, kv_heads, places, size, dtype=dtype, device=device, seed=s) for s in (6, 7)]
    expected_caches = [cache.clone() for cache in caches]

    turned = predictor_layer_triton.rotate_heads(heads, cosine, sine, *caches, start, EPS)

    expected = predictor_layer.rotate_heads(heads, cosine, sine, *expected_caches, start, EPS)
    assert_close_for(dtype, turned, expected)
    for cache, expected_cache in zip(caches, expected_caches, strict=True):
        assert_close_for(dtype, cache, expected_cache)
