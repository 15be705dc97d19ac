"""Converts vLLM's exceptions and finish reasons to the errors of `interface.errors`.

Messages name the client's field. vLLM's own messages are never passed on, because they quote the request.
"""

from __future__ import annotations

from vllm.exceptions import VLLMClientError

from antiphon_executor.interface.errors import EngineError, InvalidRequest
from antiphon_executor.interface.events import FinishReason
from antiphon_executor.interface.request import AnswerSchema, OmniRequest


def finish_reason(reason: str, request: OmniRequest, *, answered: bool) -> FinishReason:
    """The finish reason for `reason` of vLLM. `answered`: at least one token came before.

    Raises InvalidRequest for a schema that vLLM could not compile (it reports that before the first token),
    and EngineError if the engine aborted the request.
    """
    match reason:
        case "stop":
            return "stop"
        # OpenAI's API has no finish reason for a repeating answer.
        case "length" | "repetition":
            return "length"
        case "error" if request.text.schema is not None and not answered:
            raise _schema_error(request.text.schema)
        case _:
            raise EngineError("the engine ended the answer with an error")


def client_error(
    error: VLLMClientError, request: OmniRequest, vocabulary: int, context_tokens: int
) -> InvalidRequest:
    """The error for a request that vLLM rejected. `vocabulary`: number of the model's tokens."""
    named = _parameter_error(getattr(error, "parameter", None), vocabulary, context_tokens)
    if named is not None:
        return named
    text = request.text
    if text.choices > 1 and text.temperature == 0:
        return InvalidRequest("with temperature 0 all choices are equal: n must be 1", "n")
    # vLLM names no parameter for these errors.
    if "min_tokens" in str(error):
        reason = f"min_tokens is {text.min_tokens}, more than the context of {context_tokens} tokens leaves"
        return InvalidRequest(reason, "min_tokens")
    if "encoder cache" in str(error):
        reason = "an audio, image or video is larger than the engine accepts: send a shorter or smaller one"
        return InvalidRequest(reason, "messages")
    if text.schema is not None:
        return _schema_error(text.schema)
    return InvalidRequest("the engine cannot serve this request as it is")


def own_error(error: Exception) -> Exception:
    """The `EngineError` that vLLM wrapped in its own, or the error itself."""
    return error.__cause__ if isinstance(error.__cause__, EngineError) else error


def reading_error(error: VLLMClientError) -> InvalidRequest:
    """The error for a text to read aloud that vLLM rejected."""
    if getattr(error, "parameter", None) in ("input_tokens", "input_text"):
        reason = "a sentence of the input is longer than the speech model's context"
        return InvalidRequest(reason, "input", "context_length_exceeded")
    return InvalidRequest("the engine cannot speak this input as it is", "input")


def _parameter_error(parameter: str | None, vocabulary: int, context_tokens: int) -> InvalidRequest | None:
    match parameter:
        case "logit_bias" | "stop_token_ids":
            limit = vocabulary - 1
            reason = f"{parameter} has token ids outside the model's vocabulary: valid ids are 0 to {limit}"
            return InvalidRequest(reason, parameter)
        case "logprobs":
            return InvalidRequest(
                "top_logprobs is larger than the number of alternatives that the engine returns",
                "top_logprobs",
            )
        case "input_tokens" | "input_text":
            reason = f"the prompt is longer than the model's context of {context_tokens} tokens"
            return InvalidRequest(reason, "messages", "context_length_exceeded")
        case "temperature" | "top_p" | "max_tokens":
            return InvalidRequest(f"the engine does not accept this value of {parameter}", parameter)
        case _:
            return None


def _schema_error(schema: AnswerSchema) -> InvalidRequest:
    reason = "the JSON schema cannot be compiled: check its types and references, or simplify it"
    return InvalidRequest(reason, schema.param)
