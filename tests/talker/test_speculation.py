"""A speculative code predictor draws the codes that the plain one draws, in fewer passes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from antiphon_executor.models.talker.code_predictor import CodeDraw, CodePredictor, greedy
from antiphon_executor.models.talker.sampling import ResidualDraw, SlotSampling, StreamSampling
from tests.talker.test_code_predictor import SMALL, configuration, pair

GROUPS = 16
STREAMS = 6


def predictor_of(seed: int) -> CodePredictor:
    """In float64, in which no rounding of another batch decides a draw."""
    _, predictor = pair(SMALL | {"num_code_groups": GROUPS}, seed)
    predictor = predictor.double()
    predictor.fuse()
    return predictor


def sampled(n: int) -> CodeDraw:
    """Streams of different sampling, one of them greedy. A method: the C++ kernel takes the class."""
    slots = SlotSampling.empty(n, torch.device("cpu"))
    for slot in range(n):
        slots.put(
            slot, StreamSampling(seed=slot, temperature=float(slot > 0), predictor_temperature=2.0 + 3 * slot)
        )
    draw = ResidualDraw(slots.rows(torch.arange(n), torch.full((n,), 7)), GROUPS)
    return draw.__call__


def passes_and_codes(
    predictor: CodePredictor, window: int, given: tuple[Tensor, Tensor], draw: CodeDraw
) -> tuple[int, Tensor]:
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    handle = predictor.model.register_forward_hook(count)
    predictor.window = window
    codes = predictor(*given, draw)
    handle.remove()
    predictor.window = 1
    return passes, codes


def inputs(n: int) -> tuple[Tensor, Tensor]:
    hidden = configuration(SMALL).hidden_size
    return torch.randn(n, hidden).double(), torch.randn(n, hidden).double()


@pytest.mark.parametrize("window", [2, 3, 4, 15, 40])
@pytest.mark.parametrize("n", [1, STREAMS])
def test_the_codes_are_those_of_the_plain_predictor(window: int, n: int) -> None:
    predictor = predictor_of(seed=n)
    for draw in (greedy, sampled(n)):
        for _ in range(5):
            given = inputs(n)
            plain_passes, plain = passes_and_codes(predictor, 1, given, draw)
            passes, codes = passes_and_codes(predictor, window, given, draw)
            assert torch.equal(codes, plain)
            assert plain_passes == GROUPS - 1
            assert passes <= plain_passes


@pytest.mark.parametrize(("window", "passes"), [(1, 15), (2, 8), (4, 5), (8, 3), (40, 2)])
def test_guesses_that_come_true_save_passes(window: int, passes: int) -> None:
    """Without logits the noise alone draws, and it is the same for a guess and for its code."""
    predictor = predictor_of(seed=1)
    for head in predictor.lm_head:
        torch.nn.init.zeros_(head.weight)
    given = inputs(STREAMS)
    draw = sampled(STREAMS)
    expected = passes_and_codes(predictor, 1, given, draw)[1]
    counted, codes = passes_and_codes(predictor, window, given, draw)
    assert counted == passes
    assert torch.equal(codes, expected)


def test_a_stream_that_is_ahead_keeps_what_it_knows() -> None:
    """Streams advance together: while one waits for another, its next codes are no guesses."""
    predictor = CodePredictor(configuration(SMALL))
    come_true = ({(0, 2), (0, 3)}, {(1, 3), (1, 4)})
    passes, codes = passes_and_codes(predictor, 3, scripted(predictor), _Script(come_true))
    assert not codes.any()
    # Codes 1; 2; 3 to 5; 6; 7. Stream 0 knows 3 and 4 when stream 1 guesses them.
    assert passes == 5


def scripted(predictor: CodePredictor) -> tuple[Tensor, Tensor]:
    """Makes the logits of every state name the last group that the state has read; two streams."""
    shape = predictor.shape
    with torch.no_grad():
        for name, parameter in predictor.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        for head in predictor.lm_head:
            head.weight[: shape.hidden].copy_(torch.eye(shape.hidden))
        for group, table in enumerate(predictor.model.codec_embedding, start=1):
            table.weight[:, group] = 1.0
    predictor.fuse()
    code0 = torch.zeros(2, shape.hidden)
    code0[:, 0] = 1.0
    return torch.zeros(2, shape.hidden), code0


class _Script:
    """Every code is 0. A guess is 0 if the set has (last group that the state read, guessed group)."""

    def __init__(self, come_true: tuple[set[tuple[int, int]], ...]) -> None:
        self._come_true = come_true

    def __call__(self, logits: Tensor, group: int) -> Tensor:
        before = int(logits[0].argmax())
        wrong = [before + 1 < group and (before, group) not in right for right in self._come_true]
        return torch.tensor(wrong, dtype=torch.int64)
