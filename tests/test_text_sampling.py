"""Conversion of a request's sampling parameters to vLLM's."""

from __future__ import annotations

import pytest
from vllm import SamplingParams

from antiphon_executor.interface.request import TextSampling
from antiphon_executor.turn.sampling_params import sampling_params


@pytest.mark.parametrize("temperature", [0.0, 1e-6])
def test_several_greedy_choices_are_sampled_from_the_top_token_only(temperature: float) -> None:
    asked = TextSampling(temperature=temperature, top_p=0.5, min_p=0.1, choices=2)
    params = sampling_params(asked, None)
    assert isinstance(params, SamplingParams)
    assert (params.n, params.top_k, params.temperature) == (2, 1, 1.0)
    assert (params.top_p, params.min_p) == (1.0, 0.0)


def test_one_greedy_choice_is_vllms_own_greedy() -> None:
    assert sampling_params(TextSampling(temperature=0.0), None).temperature == 0.0


def test_the_end_of_a_text_is_vllms() -> None:
    asked = TextSampling(max_tokens=9, min_tokens=4, ignore_eos=True, stop_token_ids=(7, 8))
    params = sampling_params(asked, None)
    assert (params.max_tokens, params.min_tokens, params.ignore_eos) == (9, 4, True)
    assert params.stop_token_ids == [7, 8]


def test_several_sampled_choices_stay_unchanged() -> None:
    params = sampling_params(TextSampling(temperature=0.7, top_k=20, choices=3), None)
    assert (params.n, params.top_k, params.temperature) == (3, 20, 0.7)


def test_a_choice_of_answers_and_a_kept_stop_string_are_vllms() -> None:
    params = sampling_params(TextSampling(answers=("yes", "no"), stop=("z",), include_stop=True), None)
    assert params.structured_outputs is not None
    assert params.structured_outputs.choice == ["yes", "no"]
    assert params.include_stop_str_in_output
