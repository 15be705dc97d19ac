"""A long video is encoded a few frames at a time, with the same result."""

from __future__ import annotations

import pytest
import torch
from transformers.models.qwen3_5_moe.configuration_qwen3_5_moe import Qwen3_5MoeVisionConfig
from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeVisionModel
from vllm.model_executor.models.qwen3_vl import Qwen3_VisionTransformer

from antiphon_executor.models.qwen3_5_omni.vision_chunks import encode_in_chunks
from tests.thinker.one_rank import load, make_random, one_rank  # noqa: F401

CONFIG = Qwen3_5MoeVisionConfig(
    depth=2,
    hidden_size=64,
    intermediate_size=96,
    num_heads=2,
    patch_size=4,
    num_position_embeddings=64,
    out_hidden_size=48,
)
GRID = [5, 4, 6]


@pytest.fixture(scope="module")
def towers(one_rank: None) -> tuple[Qwen3_5MoeVisionModel, Qwen3_VisionTransformer]:  # noqa: F811
    reference = Qwen3_5MoeVisionModel(CONFIG).eval()
    make_random(reference, seed=0)
    tower = Qwen3_VisionTransformer(CONFIG, prefix="visual")
    load(tower, reference)
    return reference, tower


@pytest.mark.parametrize(
    ("chunk", "chunks"), [(10_000, [5]), (48, [2, 2, 1]), (71, [2, 2, 1]), (24, [1] * 5), (1, [1] * 5)]
)
@torch.no_grad()
def test_rows_do_not_depend_on_the_chunks(
    towers: tuple[Qwen3_5MoeVisionModel, Qwen3_VisionTransformer], chunk: int, chunks: list[int]
) -> None:
    reference, tower = towers
    pixels = torch.randn(5 * 24, 3 * 2 * 4 * 4, generator=torch.Generator().manual_seed(0))
    looks: list[int] = []

    def noted(part: torch.Tensor, grids: list[list[int]]) -> torch.Tensor:
        looks.append(grids[0][0])
        rows: torch.Tensor = tower(part, grids)
        return rows

    rows = encode_in_chunks(noted, pixels, GRID, chunk)
    assert looks == chunks
    expected = reference(pixels, grid_thw=torch.tensor([GRID])).pooler_output
    torch.testing.assert_close(rows, expected, rtol=1e-4, atol=1e-5)
