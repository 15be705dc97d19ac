"""vLLM's errors in our words: they name the field and quote nothing of vLLM's message."""

from __future__ import annotations

import pytest
from vllm.exceptions import VLLMUnprocessableEntityError, VLLMValidationError
from vllm.v1.engine.exceptions import EngineGenerateError

from antiphon_executor.interface.errors import InvalidRequest, RequestFailed
from antiphon_executor.interface.request import AnswerSchema, OmniRequest, TextSampling
from antiphon_executor.stages.stage import check_context
from antiphon_executor.turn.request_errors import client_error, own_error
from antiphon_executor.turn.talker_session import speech_ended

pytestmark = pytest.mark.promise("R28", "R48")

CANARY = "sesame-4711"
GREEDY = TextSampling(temperature=0.0, choices=2)
SCHEMA = TextSampling(schema=AnswerSchema('{"type": "?"}', "response_format"))
FORCED = TextSampling(schema=AnswerSchema('{"type": "?"}', "tools"))

REFUSALS = {
    "token ids": (
        VLLMValidationError(f"token_id(s) [9] in logit_bias {CANARY}", parameter="logit_bias", value=[9]),
        TextSampling(logit_bias=((9, 1.0),)),
        "logit_bias",
    ),
    "stop tokens": (
        VLLMValidationError(f"token_id(s) [9] in stop {CANARY}", parameter="stop_token_ids", value=[9]),
        TextSampling(stop_token_ids=(9,)),
        "stop_token_ids",
    ),
    "min_tokens": (
        VLLMValidationError(f"min_tokens must be less than or equal to max_tokens=3, {CANARY}"),
        TextSampling(min_tokens=70),
        "min_tokens",
    ),
    "logprobs": (VLLMValidationError(CANARY, parameter="logprobs", value=99), TextSampling(), "top_logprobs"),
    "temperature": (
        VLLMValidationError(CANARY, parameter="temperature", value=9), TextSampling(), "temperature",
    ),
    "tokens": (VLLMValidationError(CANARY, parameter="input_tokens", value=9), TextSampling(), "messages"),
    "choices": (VLLMValidationError(f"n must be 1 when {CANARY}"), GREEDY, "n"),
    "media": (VLLMValidationError(f"the encoder cache size {CANARY}"), SCHEMA, "messages"),
    "schema": (VLLMValidationError(f"Grammar error: {CANARY}"), SCHEMA, "response_format"),
    "tools": (VLLMValidationError(f"Grammar error: {CANARY}"), FORCED, "tools"),
    "an unknown parameter": (VLLMUnprocessableEntityError(CANARY, parameter="mystery"), TextSampling(), None),
}  # fmt: skip


@pytest.mark.parametrize(("error", "text", "param"), REFUSALS.values(), ids=REFUSALS.keys())
def test_an_error_names_the_clients_field_and_quotes_nothing_of_vllms_message(
    error: VLLMValidationError, text: TextSampling, param: str | None
) -> None:
    refusal = client_error(error, OmniRequest("t", (1,), text=text), vocabulary=100, context_tokens=64)
    assert isinstance(refusal, InvalidRequest)
    assert refusal.param == param
    for word in (CANARY, "Grammar", "parameter=", "value=", "token_id", "encoder cache"):
        assert word not in str(refusal).removeprefix(f"{param} ")


def test_the_error_names_the_valid_ids_of_a_logit_bias() -> None:
    error, text, _ = REFUSALS["token ids"]
    assert "0 to 99" in str(
        client_error(error, OmniRequest("t", (1,), text=text), vocabulary=100, context_tokens=64)
    )


def test_a_prompt_that_fills_the_context_is_rejected_with_openais_code() -> None:
    check_context(15, 16)
    with pytest.raises(InvalidRequest, match="16 tokens with its media") as raised:
        check_context(16, 16)
    assert (raised.value.param, raised.value.code) == ("messages", "context_length_exceeded")


@pytest.mark.parametrize("reason", ["error", "abort", "repetition", None])
def test_speech_that_the_engine_ends_with_an_error_is_an_error(reason: str | None) -> None:
    with pytest.raises(Exception, match="ended the speech with an error"):
        speech_ended(reason, 4)


@pytest.mark.parametrize("ours", [True, False])
def test_an_error_of_ours_that_vllm_wraps_is_the_one_that_is_raised(ours: bool) -> None:
    """A file that has to be decoded again raises in vLLM's own thread."""
    cause = RequestFailed("its audio took longer than 10 s") if ours else ValueError(CANARY)
    wrapped = EngineGenerateError()
    wrapped.__cause__ = cause
    assert own_error(wrapped) is (cause if ours else wrapped)
