"""What counts as held, read from `/metrics`."""

from __future__ import annotations

import pytest

from tests.chaos.stillness import holds_nothing

FIGURES = [
    'antiphon_engine_requests{stage="thinker"} 0.0',
    'antiphon_engine_requests{stage="talker"} 0.0',
    'antiphon_stage_queue_depth{stage="thinker"} 0.0',
    'antiphon_stage_queue_depth{stage="talker"} 0.0',
    'antiphon_stage_running{stage="thinker"} 0.0',
    'antiphon_stage_running{stage="talker"} 0.0',
    'antiphon_speech_slots{state="used"} 0.0',
    'antiphon_speech_slots{state="free"} 8.0',
    'vllm:num_requests_running{engine="0",model_name="m"} 0.0',
    'antiphon_talker_num_requests_running{engine="0",model_name="m"} 0.0',
    'vllm:num_requests_waiting{engine="0",model_name="m"} 0.0',
    'antiphon_talker_num_requests_waiting{engine="0",model_name="m"} 0.0',
]


def test_free_slots_are_not_held() -> None:
    assert holds_nothing("\n".join(FIGURES))


@pytest.mark.parametrize("held", [line for line in FIGURES if "free" not in line])
def test_one_of_anything_is(held: str) -> None:
    assert not holds_nothing("\n".join(FIGURES).replace(held, held.replace("0.0", "1.0")))


def test_a_figure_that_is_not_there_is_not_taken_for_nothing() -> None:
    with pytest.raises(AssertionError, match="10 figures"):
        holds_nothing("\n".join(FIGURES[1:]))
