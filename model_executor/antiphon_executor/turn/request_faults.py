"""What vLLM says of a request that it refuses or ends with an error, as an error of `protocol.py`.

In: vLLM's exceptions and finish reasons. Out: a finish reason, or an error in our own words and with the
client's name of the field. vLLM's words never pass: they quote the request.
"""

from __future__ import annotations

from vllm.exceptions import VLLMClientError

from antiphon_executor.interface.errors import EngineError, InvalidRequest
from antiphon_executor.interface.events import FinishReason
from antiphon_executor.interface.request import OmniRequest


def finish_of(reason: str, turn: OmniRequest, *, answered: bool) -> FinishReason:
    """`reason`: vLLM's. `answered`: a token has come before.

    Raises if the model did not end by itself: InvalidRequest for a schema that vLLM could not compile, which
    it finds out before the first token; EngineError for an abort that no client asked for, and for the rest.
    """
    match reason:
        case "stop":
            return "stop"
        # OpenAI's clients know no better word for an answer that goes round.
        case "length" | "repetition":
            return "length"
        case "error" if turn.text.json_schema is not None and not answered:
            raise _schema_refused(turn)
        case _:
            raise EngineError("the engine ended the answer with an error")


def refusal_of(
    error: VLLMClientError, turn: OmniRequest, vocabulary: int, context_tokens: int
) -> InvalidRequest:
    """`vocabulary`: how many tokens the model knows."""
    named = _of_parameter(getattr(error, "parameter", None), vocabulary, context_tokens)
    if named is not None:
        return named
    text = turn.text
    if text.choices > 1 and text.temperature == 0:
        return InvalidRequest("with temperature 0 all choices are the same: n must be 1", "n")
    # vLLM names no parameter here.
    if "encoder cache" in str(error):
        reason = "a sound, a picture or a video is larger than the engine takes: send it shorter or smaller"
        return InvalidRequest(reason, "messages")
    if text.json_schema is not None:
        return _schema_refused(turn)
    return InvalidRequest("the engine cannot serve this request as it is")


def _of_parameter(parameter: str | None, vocabulary: int, context_tokens: int) -> InvalidRequest | None:
    match parameter:
        case "logit_bias":
            reason = (
                f"logit_bias names token ids beyond the model's vocabulary: ids are 0 to {vocabulary - 1}"
            )
            return InvalidRequest(reason, "logit_bias")
        case "logprobs":
            return InvalidRequest(
                "the engine gives fewer alternatives a token than top_logprobs", "top_logprobs"
            )
        case "input_tokens" | "input_text":
            reason = f"the prompt is longer than the model's context of {context_tokens} tokens"
            return InvalidRequest(reason, "messages", "context_length_exceeded")
        case "temperature" | "top_p" | "max_tokens":
            return InvalidRequest(f"the engine does not take this value of {parameter}", parameter)
        case _:
            return None


def _schema_refused(turn: OmniRequest) -> InvalidRequest:
    reason = "the JSON schema cannot be compiled: check its types and references, or make it simpler"
    return InvalidRequest(reason, turn.text.schema_param)
