"""The Thinker waits for urgent steps of the Talker, and for no others."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from antiphon_executor.ipc.stage_activity import StageActivity
from antiphon_executor.scheduling.yielding import (
    LONGEST_POSTPONED_S,
    LONGEST_WAIT_S,
    PLAYING_TOKENS,
    Yielding,
)


class Clock:
    """Time passes only in `sleep`. The step of `talker` ends at 100.02."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.talker: StageActivity | None = None

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        if self.talker is not None and self.now_s >= 100.020:
            self.talker.step_ended(self.now_s)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def thinker(tmp_path: Path, clock: Clock) -> Yielding:
    return Yielding(StageActivity(tmp_path / "activity"), clock, clock.sleep)


def test_without_a_claim_the_thinker_goes_on_at_once(tmp_path: Path, clock: Clock) -> None:
    thinker(tmp_path, clock).wait_for_talker()
    assert clock.now_s == 100.0


def test_it_waits_until_the_step_of_speech_has_ended(tmp_path: Path, clock: Clock) -> None:
    clock.talker = StageActivity(tmp_path / "activity")
    clock.talker.step_began(100.0, 0.040)
    thinker(tmp_path, clock).wait_for_talker()
    assert clock.now_s == pytest.approx(100.020, abs=0.0015)


def test_a_claim_ends_by_itself_when_the_talker_has_died(tmp_path: Path, clock: Clock) -> None:
    StageActivity(tmp_path / "activity").step_began(100.0, 0.030)
    thinker(tmp_path, clock).wait_for_talker()
    assert clock.now_s == pytest.approx(100.030, abs=0.0015)


def test_text_goes_on_under_claims_without_end(tmp_path: Path, clock: Clock) -> None:
    StageActivity(tmp_path / "activity").step_began(100.0, 1e9)
    thinker(tmp_path, clock).wait_for_talker()
    assert clock.now_s == pytest.approx(100.0 + LONGEST_WAIT_S, abs=0.0015)


def test_prompts_are_read_in_short_steps_while_speech_is_generated(tmp_path: Path, clock: Clock) -> None:
    talker, steps = StageActivity(tmp_path / "activity"), thinker(tmp_path, clock)
    assert steps.step_tokens(2_048, 1) == 2_048
    talker.step_began(99.9, 0.0)
    assert steps.step_tokens(2_048, 1) == PLAYING_TOKENS + 1
    assert steps.step_tokens(128, 1) == 128
    assert steps.step_tokens(2_048, 1_000) == PLAYING_TOKENS + 1_000, (
        "every request that decodes has its token"
    )
    clock.now_s += 1.1
    assert steps.step_tokens(2_048, 1) == 2_048


def test_a_step_tells_when_the_talker_last_ran(tmp_path: Path) -> None:
    here, there = StageActivity(tmp_path / "activity"), StageActivity(tmp_path / "activity")
    assert there.talker_ran_s == 0.0
    here.step_began(4.0, 1.0)
    assert (there.claimed_until_s, there.talker_ran_s) == (5.0, 4.0)
    here.step_ended(4.5)
    assert (there.claimed_until_s, there.talker_ran_s) == (0.0, 4.5)


def test_prompts_wait_while_a_client_has_less_sound_than_a_step_with_them_takes(
    tmp_path: Path, clock: Clock
) -> None:
    talker, steps = StageActivity(tmp_path / "activity"), thinker(tmp_path, clock)
    assert not steps.postpones_prompts(), "no stream has come yet"
    talker.step_ended(100.0)
    talker.sound_lasts(100.3)
    assert steps.postpones_prompts()
    talker.sound_lasts(100.4)
    assert not steps.postpones_prompts()
    steps.prompt_step_took(0.6)
    assert steps.postpones_prompts(), "a window of media may be encoded in the next one too"
    talker.sound_lasts(math.inf)
    assert not steps.postpones_prompts()


def test_prompts_wait_for_text_for_a_while_only(tmp_path: Path, clock: Clock) -> None:
    talker, steps = StageActivity(tmp_path / "activity"), thinker(tmp_path, clock)
    talker.step_ended(100.0)
    talker.sound_lasts(100.0)
    assert steps.postpones_prompts()
    clock.now_s += LONGEST_POSTPONED_S - 0.01
    assert steps.postpones_prompts()
    clock.now_s += 0.02
    assert not steps.postpones_prompts()
    assert steps.postpones_prompts(), "after one step it is the turn of text again"


def test_a_talker_that_has_died_keeps_no_prompt_waiting(tmp_path: Path, clock: Clock) -> None:
    talker, steps = StageActivity(tmp_path / "activity"), thinker(tmp_path, clock)
    talker.step_ended(98.0)
    talker.sound_lasts(98.1)
    assert not steps.postpones_prompts()


def test_a_prompt_that_is_aborted_while_it_waits_leaves_nothing_to_the_next(
    tmp_path: Path, clock: Clock
) -> None:
    """The next one, minutes later, had a step at once, while a client had no sound."""
    talker, steps = StageActivity(tmp_path / "activity"), thinker(tmp_path, clock)
    talker.step_ended(100.0)
    talker.sound_lasts(100.0)
    assert steps.left_out({"aborted": True}) == {"aborted"}
    assert steps.left_out({}) == set()
    clock.now_s += 60.0
    talker.step_ended(clock.now_s)
    assert steps.left_out({"next": True}) == {"next"}


def test_a_prompt_of_a_few_steps_waits_for_text_only_once(tmp_path: Path, clock: Clock) -> None:
    """It waited before each of its steps."""
    talker, steps = StageActivity(tmp_path / "activity"), thinker(tmp_path, clock)
    talker.sound_lasts(100.0)
    left_out = []
    for _ in range(40):
        talker.step_ended(clock.now_s)
        left_out.append(steps.left_out({"few": False, "many": True}))
        clock.now_s += 0.1
    first = next(at for at, names in enumerate(left_out) if "few" not in names)
    assert LONGEST_POSTPONED_S - 0.1 < first * 0.1 < LONGEST_POSTPONED_S + 0.2
    assert not any("few" in names for names in left_out[first:])
    many = sum("many" in names for names in left_out[first:])
    assert many > 2 / 3 * len(left_out[first:])
