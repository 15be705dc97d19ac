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
        budget.measured(StepLength(1, tokens - 1, seconds, context=first))
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


def test_a_short_prompt_beside_a_long_one_has_steps_of_its_own_size() -> None:
    """They were those of the long prompt, whose tokens cost ten times as much."""
    budget = StepBudget()
    read(budget, 0, 8_000)
    read(budget, 70_000, 78_000)
    assert budget.tokens(LIMIT, 78_000, STEP_S) <= 192
    assert budget.tokens(LIMIT, 600, STEP_S) >= 512


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
    budget.measured(StepLength(1, 255, 60.0))
    contexts = (0, 32_768, 65_536, 131_072, 262_144)
    assert [budget.tokens(LIMIT, context, step_s) for context in contexts] == expected
    assert budget.tokens(8, 0, step_s) == 8


@pytest.mark.parametrize("prompt_tokens", [0, 20])
def test_steps_that_hardly_read_do_not_count(prompt_tokens: int) -> None:
    budget = StepBudget()
    budget.measured(StepLength(64, prompt_tokens, 5.0))
    assert budget.tokens(LIMIT, 0, STEP_S) == LIMIT


WINDOW, WINDOW_S = 840, 0.27
# Two frames of 1280 x 704.
VIDEO_WINDOW, VIDEO_WINDOW_S = 880, 0.5


def listen(
    budget: StepBudget, first: int, last: int, window_s: float = WINDOW_S, window: int = WINDOW
) -> list[float]:
    """The seconds of each step that reads windows of media from `first` to `last`."""
    steps = []
    while first < last:
        until = -(-first // window) * window
        media = [MediaItem(start - first, window) for start in range(until, first + LIMIT, window)]
        tokens = budget.tokens(LIMIT, first, STEP_S, media)
        encoded = sum(one.distance < tokens for one in media)
        seconds = seconds_of(tokens, first) + encoded * window_s
        budget.measured(StepLength(1, tokens - 1, seconds, encoded * window, context=first))
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


@pytest.mark.parametrize("first", [0, 8_800, 88_000, 176_000])
def test_a_step_that_encodes_a_window_of_video_takes_less_than_a_second(first: int) -> None:
    """It took 1.0 s of the encoder for two pairs of frames, and as much as a step reads."""
    budget = StepBudget()
    read(budget, max(first - 1_000, 0), max(first, 1_000))
    steps = listen(budget, first, first + 20 * VIDEO_WINDOW, VIDEO_WINDOW_S, VIDEO_WINDOW)
    assert max(steps[4:]) < 0.65
    assert len(steps) < 50 * (1 + first / 8_800)


def test_before_the_encoder_was_measured_a_step_encodes_one_window_of_video_or_two_of_audio() -> None:
    budget = StepBudget()
    assert 2 * WINDOW <= budget.encoder_tokens(10_000, STEP_S, [WINDOW, WINDOW]) < 2 * VIDEO_WINDOW
    budget.measured(StepLength(1, LIMIT, 0.1))
    budget.measured(StepLength(1, 80, 0.5, VIDEO_WINDOW))
    assert budget.encoder_tokens(10_000, STEP_S, [WINDOW, VIDEO_WINDOW]) < 2 * WINDOW
    assert budget.encoder_tokens(10_000, STEP_S, [4_000, 880]) >= 4_000 + 880
    assert budget.encoder_tokens(10_000, STEP_S, [10_000]) == 10_000


def test_a_fast_encoder_has_as_much_as_vllm_allows() -> None:
    budget = StepBudget()
    budget.measured(StepLength(1, LIMIT, 0.01))
    budget.measured(StepLength(1, LIMIT, 0.012, LIMIT))
    assert budget.encoder_tokens(10_000, STEP_S, [880]) == 10_000
    assert budget.encoder_tokens(0, STEP_S, []) == 0


def test_windows_that_take_longer_than_a_step_have_one_each() -> None:
    steps = listen(StepBudget(), 0, 12 * WINDOW, window_s=0.9)
    assert max(steps[4:]) < 1.0


def test_a_fast_machine_encodes_all_windows_of_a_long_step() -> None:
    budget = StepBudget()
    for _ in range(3):
        budget.measured(StepLength(1, LIMIT, 0.01))
        budget.measured(StepLength(1, LIMIT, 0.012, WINDOW))
    assert budget.tokens(LIMIT, 0, STEP_S, [MediaItem(start, WINDOW) for start in (0, 840, 1_680)]) == LIMIT


def test_two_prompts_that_reach_media_at_once_go_on() -> None:
    budget = StepBudget()
    budget.measured(StepLength(1, 255, 0.2))
    assert budget.tokens(LIMIT, 0, STEP_S, [MediaItem(0, WINDOW)] * 2) == 16


def test_an_encoder_whose_time_cannot_be_seen_limits_no_step() -> None:
    budget = StepBudget()
    budget.measured(StepLength(1, LIMIT, 0.1))
    budget.measured(StepLength(1, LIMIT, 0.09, 200))
    pictures = [MediaItem(start, 200) for start in range(0, LIMIT, 210)]
    assert budget.tokens(LIMIT, 0, STEP_S, pictures) == LIMIT
