"""Defaults that depend on the engines' settings and on the kind of machine."""

from __future__ import annotations

from antiphon_executor.interface.settings import TalkerSettings, ThinkerSettings


def test_steps_are_shorter_on_a_cpu_that_both_engines_share() -> None:
    assert ThinkerSettings().batched_tokens(sequences=16, shares_cpu=True) == 256
    assert ThinkerSettings().batched_tokens(sequences=16, shares_cpu=False) == 2048
    assert TalkerSettings().batched_tokens(sequences=16, shares_cpu=True) == 2048


def test_a_step_has_a_token_per_sequence_unless_the_operator_sets_fewer() -> None:
    assert ThinkerSettings().batched_tokens(sequences=600, shares_cpu=True) == 600
    assert ThinkerSettings(max_num_batched_tokens=64).batched_tokens(sequences=600, shares_cpu=True) == 64
