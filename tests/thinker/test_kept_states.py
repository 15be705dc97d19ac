"""A hybrid model's prefix cache serves another question about the same media up to their end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from vllm.multimodal.inputs import MultiModalFeatureSpec, PlaceholderRange
from vllm.v1.core.sched.output import SchedulerOutput

from antiphon_executor.scheduling.step_time import step_budget
from antiphon_executor.scheduling.step_time.step_budget import STEP_S
from tests.thinker.thinker_rig import BLOCK, TEXT, WINDOW, Rig, config_of


@pytest.mark.parametrize("length", [40, 700])
@pytest.mark.parametrize("windows", [1, 2, 5, 10])
def test_another_question_finds_the_recording_up_to_its_last_whole_block(
    model: Path, windows: int, length: int
) -> None:
    rig = Rig.of(model)
    assert rig.ask(windows, question=50, length=length) == 0
    assert rig.ask(windows, question=60, length=length) == (11 + windows * WINDOW) // BLOCK * BLOCK


def test_a_short_question_takes_no_further_step(model: Path) -> None:
    rig = Rig.of(model)
    rig.ask(2, question=50)
    assert rig.steps == [(11 + 2 * WINDOW) // BLOCK * BLOCK, 11 + 2 * WINDOW + 40 - 1536]


class SlowMachine:
    """Time passes only in steps. `context_s`: of a step's token, for each token of its context."""

    def __init__(self, context_s: float) -> None:
        self.now_s = 100.0
        self.context_s = context_s
        self.steps_s: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def ran(self, tokens: int, computed: int) -> None:
        self.steps_s.append(tokens * self.context_s * (computed + 1_000))
        self.now_s += self.steps_s[-1]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowMachine:
    machine = SlowMachine(context_s=1e-7)
    monkeypatch.setattr(time, "monotonic", machine.monotonic)
    return machine


def test_beside_a_long_prompt_a_short_one_gets_its_token_in_two_short_steps(
    model: Path, slow: SlowMachine
) -> None:
    slow.context_s = 4e-8
    rig = Rig.of(model, slow.ran)
    long = rig.add([TEXT] * 24_000, [])
    while long.num_computed_tokens < 20_000:
        rig.step()
    short = rig.add([50] * 20, [])
    slow.steps_s.clear()
    before = long.num_computed_tokens
    assert short.request_id in rig.step().num_scheduled_tokens
    assert short.num_output_tokens == 1
    rig.step()
    assert long.num_computed_tokens > before
    while long.num_computed_tokens < 24_000:
        rig.step()
    assert max(slow.steps_s) < STEP_S * 1.3


def test_a_step_that_encodes_audio_is_not_longer_than_others(model: Path, slow: SlowMachine) -> None:
    """An aborted request ends after the step that runs: at most a part of its prompt, or a window."""
    encoded = []

    def ran(tokens: int, computed: int) -> None:
        windows = len(encoded[-1]) if encoded else 0
        slow.steps_s.append(tokens * 4e-8 * (computed + 1_000) + windows * 0.27)
        slow.now_s += slow.steps_s[-1]

    rig = Rig.of(model, ran)
    schedule = rig.scheduler.schedule

    def watched(throttle_prefills: bool = False) -> SchedulerOutput:
        output = schedule(throttle_prefills)
        encoded.append([item for items in output.scheduled_encoder_inputs.values() for item in items])
        return output

    rig.scheduler.schedule = watched  # type: ignore[method-assign]
    rig.ask(36, question=50)
    assert sum(map(len, encoded)) == 36
    assert max(slow.steps_s[4:]) < STEP_S * 1.3


def test_pictures_of_many_prompts_are_encoded_in_several_short_steps(model: Path, slow: SlowMachine) -> None:
    """A step had as many as its tokens reach."""
    encoded = []

    def ran(tokens: int, computed: int) -> None:
        slow.steps_s.append(tokens * 2e-4 + sum(encoded[-1:]) * 8e-4)
        slow.now_s += slow.steps_s[-1]

    rig = Rig.of(model, ran)
    schedule = rig.scheduler.schedule

    def watched(throttle_prefills: bool = False) -> SchedulerOutput:
        output = schedule(throttle_prefills)
        encoded.append(rig.scheduler._encoded_tokens(output))
        return output

    rig.scheduler.schedule = watched  # type: ignore[method-assign]
    rig.ask(1, question=50)
    rig.ask(1, question=60, length=300)
    asked = []
    for number in range(24):
        place = PlaceholderRange(offset=10, length=60)
        picture = MultiModalFeatureSpec(None, "image", f"picture-{number}", place)
        asked.append(rig.add([TEXT] * 10 + [9] * 60 + [number + 20] * 10, [picture]))
    slow.steps_s.clear()
    while not all(one.num_output_tokens for one in asked):
        rig.step()
    assert sum(encoded) >= WINDOW + 24 * 60
    assert max(slow.steps_s[2:]) < STEP_S * 1.5
    assert len(slow.steps_s) < 16


def test_beside_two_long_prompts_a_short_one_gets_its_token_at_once(model: Path) -> None:
    """Two hours-long recordings take minutes each."""
    rig = Rig.of(model)
    long = [rig.add([TEXT + number] * 30_000, []) for number in range(2)]
    while min(one.num_computed_tokens for one in long) < 2_000:
        rig.step()
    before = [one.num_computed_tokens for one in long]
    short = rig.add([50] * 20, [])
    assert short.request_id in rig.step().num_scheduled_tokens
    assert short.num_output_tokens == 1
    rig.step()
    assert all(one.num_computed_tokens > computed for one, computed in zip(long, before, strict=True))


def test_many_answers_leave_a_short_prompt_its_share_beside_a_long_one(
    model: Path, slow: SlowMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given 60 answers, and steps with 32 tokens of prompts."""
    monkeypatch.setattr(step_budget, "_MOST_LEAST_TOKENS", 32)
    rig = Rig.of(model, slow.ran)
    answers = [rig.add([number + 2] * 20, [], answer_tokens=9_000) for number in range(60)]
    while not all(one.num_output_tokens for one in answers):
        rig.step()
    slow.context_s = 1e-3
    long = rig.add([TEXT] * 32_000, [])
    while long.num_computed_tokens < 1_000:
        rig.step()
    short = rig.add([99] * 20, [])
    for _ in range(2):
        rig.step()
    assert short.num_output_tokens == 1


def test_steps_within_a_block_keep_the_state_at_the_end_of_a_recording(
    model: Path, slow: SlowMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_budget, "_MOST_LEAST_TOKENS", 64)
    rig = Rig.of(model, slow.ran)
    assert rig.ask(20, question=50) == 0
    assert min(rig.steps[:-1]) < BLOCK
    assert rig.ask(20, question=60) == (11 + 20 * WINDOW) // BLOCK * BLOCK


def test_vllm_leaves_the_block_size_that_it_chose_when_the_engine_has_started(model: Path) -> None:
    config = config_of(model)
    config.cache_config.block_size = BLOCK
    # As vLLM's `EngineCoreProc` does after the handshake with its client.
    config.__post_init__()
    assert config.cache_config.block_size == BLOCK
