"""What follows from the engines' settings, and from the kind of machine, where nothing was said."""

from __future__ import annotations

from antiphon_executor.interface.settings import TalkerSettings, ThinkerSettings


def test_steps_are_short_where_a_machine_is_slow() -> None:
    assert ThinkerSettings().batched_tokens(sequences=16, on_cpu=True) == 256
    assert ThinkerSettings().batched_tokens(sequences=16, on_cpu=False) == 2048
    assert TalkerSettings().batched_tokens(sequences=16, on_cpu=True) == 2048


def test_a_step_has_a_token_for_everybody_unless_an_operator_says_otherwise() -> None:
    assert ThinkerSettings().batched_tokens(sequences=600, on_cpu=True) == 600
    assert ThinkerSettings(max_num_batched_tokens=64).batched_tokens(sequences=600, on_cpu=True) == 64
