"""The events that begin and end a response, and the number of each event between them."""

from __future__ import annotations

from itertools import count

from antiphon_server.chat.response.output.open_items import Events
from antiphon_server.errors import ApiError
from antiphon_server.openai_api.response import Usage
from antiphon_server.openai_api.responses.events import ResponseEvent, ResponseEventType
from antiphon_server.openai_api.responses.response import (
    ErrorCode,
    IncompleteDetails,
    InputTokensDetails,
    OutputItem,
    OutputTokensDetails,
    Response,
    ResponseError,
    ResponseUsage,
)


class ResponseEvents:
    """One response's. `response`: as it is now; at first without output."""

    def __init__(self, response: Response) -> None:
        self.response = response
        self._numbers = count()
        self._has_begun = False

    def number(self) -> int:
        """The number of the next event."""
        return next(self._numbers)

    def begin(self) -> Events:
        self._has_begun = True
        return [self._event("response.created"), self._event("response.in_progress")]

    def end(self, output: list[OutputItem], usage: Usage, *, cut: bool) -> Events:
        """`cut`: the answer reached its limit of tokens."""
        self.response = self.response.model_copy(
            update={
                "status": "incomplete" if cut else "completed",
                "incomplete_details": IncompleteDetails(reason="max_output_tokens") if cut else None,
                "output": output,
                "usage": write_usage(usage),
            }
        )
        return [self._event("response.incomplete" if cut else "response.completed")]

    def fail(self, error: ApiError) -> Events:
        """The last events of a response that has failed; the first ones before them, if they are missing."""
        begun = [] if self._has_begun else self.begin()
        shown = _error_of(error)
        self.response = self.response.model_copy(update={"status": "failed", "error": shown})
        return [*begun, self._event("response.failed")]

    def _event(self, kind: ResponseEventType) -> ResponseEvent:
        return ResponseEvent(type=kind, sequence_number=self.number(), response=self.response)


def _error_of(error: ApiError) -> ResponseError:
    code: ErrorCode = "server_error"
    if error.status == 429:
        code = "rate_limit_exceeded"
    elif error.status < 500:
        code = "invalid_prompt"
    return ResponseError(code=code, message=error.message, type=error.type, param=error.param)


def write_usage(usage: Usage) -> ResponseUsage:
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return ResponseUsage(
        input_tokens=usage.prompt_tokens,
        input_tokens_details=InputTokensDetails(**prompt.model_dump()),
        output_tokens=usage.completion_tokens,
        output_tokens_details=OutputTokensDetails(**completion.model_dump()),
        total_tokens=usage.total_tokens,
    )
