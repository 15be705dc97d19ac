"""Steps of the Thinker stay short at any context, and shorter beside speech."""

from __future__ import annotations

import pytest

from antiphon_executor.scheduling.step_time.step_budget import (
    PLAYING_STEP_S,
    STEP_S,
    MediaItem,
    StepBudget,
)
from antiphon_executor.scheduling.step_time.step_clock import StepLength

LIMIT = 2_048
# Of antiphon-nano on a core: for each token, and for each token of its context.
TOKEN_S, CONTEXT_S = 2e-4, 2.6e-8


def seconds_of(tokens: int, context: int, fixed_s: float = 0.01) -> float:
    return fixed_s + tokens * (TOKEN_S + CONTEXT_S * (context + tokens / 2))


def read(
    budget: StepBudget, first: int, last: int, speed: float = 1.0, step_s: float = STEP_S
) -> list[tuple[int, float]]:
    """The tokens and seconds of each step that reads a prompt from `first` to `last`."""
    steps = []
    while first < last:
        tokens = budget.tokens(LIMIT, first, step_s)
        seconds = seconds_of(tokens, first) / speed
        budget.measured(StepLength(1, tokens - 1, seconds), first)
        steps.append((tokens, seconds))
        first += tokens
    return steps


def test_the_first_step_has_all_tokens() -> None:
    assert StepBudget().tokens(LIMIT, 0, STEP_S) == LIMIT


def test_steps_of_ten_hours_of_audio_stay_short() -> None:
    """An aborted request ends within half a second."""
    steps = read(StepBudget(), 0, 260_000)
    assert max(seconds for _, seconds in steps[1:]) < 0.5
    assert steps[-1][0] <= 64


def test_short_steps_cost_a_small_part_more() -> None:
    short = sum(seconds for _, seconds in read(StepBudget(), 0, 78_000))
    whole = sum(seconds_of(LIMIT, first) for first in range(0, 78_000, LIMIT))
    assert short < whole * 1.06


def test_a_fast_machine_keeps_long_steps() -> None:
    assert {tokens for tokens, _ in read(StepBudget(), 0, 260_000, speed=100)} == {LIMIT}


def test_after_a_long_prompt_steps_grow_again() -> None:
    budget = StepBudget()
    read(budget, 150_000, 152_000)
    steps = [tokens for tokens, _ in read(budget, 0, 16_000)]
    assert steps[0] == 256
    assert max(steps) >= LIMIT / 2
    assert len(steps) < 30


def test_beside_speech_steps_are_as_short_as_those_of_the_talker() -> None:
    """Given 3 and 10 hours of audio, then its answers get ten tokens of text a second, or nearly so."""
    for first in (70_000, 255_000):
        budget = StepBudget()
        read(budget, first - 2_000, first)
        beside = read(budget, first, first + 3_000, step_s=PLAYING_STEP_S)
        assert max(seconds for _, seconds in beside) < 0.13


@pytest.mark.parametrize(
    ("step_s", "expected"), [(STEP_S, [256, 256, 128, 64, 32]), (0.1, [64, 64, 32, 16, 16])]
)
def test_the_least_tokens_fall_with_the_context(step_s: float, expected: list[int]) -> None:
    budget = StepBudget()
    budget.measured(StepLength(1, 255, 60.0), 0)
    contexts = (0, 32_768, 65_536, 131_072, 262_144)
    assert [budget.tokens(LIMIT, context, step_s) for context in contexts] == expected
    assert budget.tokens(8, 0, step_s) == 8


@pytest.mark.parametrize("prompt_tokens", [0, 20])
def test_steps_that_hardly_read_do_not_count(prompt_tokens: int) -> None:
    budget = StepBudget()
    budget.measured(StepLength(64, prompt_tokens, 5.0), 0)
    assert budget.tokens(LIMIT, 0, STEP_S) == LIMIT


WINDOW, WINDOW_S = 840, 0.27


def listen(budget: StepBudget, first: int, last: int, window_s: float = WINDOW_S) -> list[float]:
    """The seconds of each step that reads windows of audio from `first` to `last`."""
    steps = []
    while first < last:
        until = -(-first // WINDOW) * WINDOW
        media = [MediaItem(start - first, WINDOW) for start in range(until, first + LIMIT, WINDOW)]
        tokens = budget.tokens(LIMIT, first, STEP_S, media)
        encoded = sum(one.distance < tokens for one in media)
        seconds = seconds_of(tokens, first) + encoded * window_s
        budget.measured(StepLength(1, tokens - 1, seconds, encoded * WINDOW), first)
        steps.append(seconds)
        first += tokens
    return steps


@pytest.mark.parametrize("first", [0, 8_400, 75_600, 252_000])
def test_a_step_that_encodes_a_window_reads_less(first: int) -> None:
    """It took as long as a step and a window together, and an aborted request that much longer to end."""
    budget = StepBudget()
    read(budget, max(first - 1_000, 0), max(first, 1_000))
    steps = listen(budget, first, first + 20 * WINDOW)
    assert max(steps[4:]) < 0.45
    assert len(steps) < 50 * (1 + first / 8_400)


def test_windows_that_take_longer_than_a_step_have_one_each() -> None:
    steps = listen(StepBudget(), 0, 12 * WINDOW, window_s=0.9)
    assert max(steps[4:]) < 1.0


def test_a_fast_machine_encodes_all_windows_of_a_long_step() -> None:
    budget = StepBudget()
    for _ in range(3):
        budget.measured(StepLength(1, LIMIT, 0.01), 0)
        budget.measured(StepLength(1, LIMIT, 0.012, WINDOW), 0)
    assert budget.tokens(LIMIT, 0, STEP_S, [MediaItem(start, WINDOW) for start in (0, 840, 1_680)]) == LIMIT


def test_two_prompts_that_reach_media_at_once_go_on() -> None:
    budget = StepBudget()
    budget.measured(StepLength(1, 255, 0.2), 0)
    assert budget.tokens(LIMIT, 0, STEP_S, [MediaItem(0, WINDOW)] * 2) == 16


def test_an_encoder_whose_time_cannot_be_seen_limits_no_step() -> None:
    budget = StepBudget()
    budget.measured(StepLength(1, LIMIT, 0.1), 0)
    budget.measured(StepLength(1, LIMIT, 0.09, 200), 0)
    pictures = [MediaItem(start, 200) for start in range(0, LIMIT, 210)]
    assert budget.tokens(LIMIT, 0, STEP_S, pictures) == LIMIT
