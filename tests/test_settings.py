"""Defaults that depend on the engines' settings and on the kind of machine."""

from __future__ import annotations

from antiphon_executor.interface.settings import TalkerSettings, ThinkerSettings


def test_both_engines_take_long_steps() -> None:
    assert ThinkerSettings().batched_tokens(sequences=16) == 2048
    assert TalkerSettings().batched_tokens(sequences=16) == 2048


def test_a_step_has_a_token_per_sequence_unless_the_operator_sets_fewer() -> None:
    assert ThinkerSettings().batched_tokens(sequences=6_000) == 6_000
    assert ThinkerSettings(max_num_batched_tokens=64).batched_tokens(sequences=600) == 64
