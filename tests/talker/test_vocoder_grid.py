"""The vocoder's sample arithmetic matches transformers' decoder."""

from __future__ import annotations

import pytest
import torch

from antiphon_executor.models.code2wav.grid import SampleGrid, sample_grid
from tests.talker.vocoder_oracle import SIZES, one_shot, random_code2wav


def test_the_released_model_has_1920_samples_a_frame_and_looks_555_ahead() -> None:
    assert sample_grid((2, 2), (8, 5, 4, 3)) == SampleGrid(frame_samples=1920, lookahead_samples=555)


@pytest.mark.parametrize(("ratios", "rates"), [((2, 2), (8, 5, 4, 3)), ((2,), (4, 3)), ((3, 2), (2, 2, 2))])
def test_the_oracle_gives_as_many_samples_as_the_grid_says(
    ratios: tuple[int, ...], rates: tuple[int, ...]
) -> None:
    config = type(SIZES["unit"])(
        **(SIZES["unit"].to_dict() | {"upsampling_ratios": ratios, "upsample_rates": rates})
    )
    codes = torch.zeros(1, 5, config.num_quantizers, dtype=torch.int64)

    sound = one_shot(random_code2wav(config, seed=0), codes)

    assert sound.shape[1] == sample_grid(ratios, rates).samples(5)


def test_the_valid_parts_of_steps_add_up_whatever_their_sizes() -> None:
    grid = SampleGrid(1920, 555)
    for sizes in ([1, 1, 1], [3], [2, 5, 1]):
        before, valid = 0, 0
        for frames in sizes:
            valid += len(range(frames * 1920)[grid.valid(before)])
            before += frames
        assert valid == grid.samples(before)


def test_only_the_first_frame_loses_samples() -> None:
    grid = SampleGrid(1920, 555)

    assert grid.valid(0) == slice(555, None)
    assert grid.valid(1) == slice(0, None)
    assert grid.samples(0) == 0
