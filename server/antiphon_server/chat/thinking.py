"""Thinking of a model before its answer: what a request asks for, and whether the answer begins with it."""

from __future__ import annotations

from typing import Literal

from antiphon_server.chat.prompt.template import ChatTemplate
from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.request import ChatRequest

Reasoning = Literal["none", "possible", "open"]
"""How an answer's text begins: with the answer; perhaps with `<think>`; inside it, opened by the prompt."""


def read_thinking(request: ChatRequest, template: ChatTemplate) -> bool | None:
    """The template's variable `enable_thinking`; None leaves it to the template.

    Raises BadRequest if `enable_thinking` is set and the model cannot do it. `reasoning_effort` is a hint.
    """
    asked, param = _asked(request)
    if template.takes_thinking:
        if asked is not None:
            return asked
        if answers_by_schema(request):
            # The schema holds from the first token: there is no room for reasoning before it.
            return False
        return None if request.reasoning_effort is None else request.reasoning_effort != "none"
    if asked is not None and asked != template.thinks:
        problem = "always thinks" if template.thinks else "does not think"
        raise BadRequest(f"This model {problem}; its chat template has no enable_thinking.", param=param)
    return None


def _asked(request: ChatRequest) -> tuple[bool | None, str]:
    """What the request asks for, and the field that does."""
    options = request.chat_template_kwargs
    if options is not None and options.enable_thinking is not None:
        return options.enable_thinking, "chat_template_kwargs.enable_thinking"
    if request.enable_thinking is not None:
        return request.enable_thinking, "enable_thinking"
    return (None if request.thinking is None else request.thinking.type == "enabled"), "thinking"


def reasoning_of(request: ChatRequest, template: ChatTemplate, thinking: bool | None) -> Reasoning:
    if answers_by_schema(request) or not template.thinks:
        return "none"
    opens = not request.continue_final_message and template.opens_thinking(thinking)
    return "open" if opens else "possible"


def answers_by_schema(request: ChatRequest) -> bool:
    """Whether the whole text must follow a structure: a JSON schema, a choice, a tool call."""
    wanted = request.response_format
    if request.guidance is not None:
        return True
    return request.forces_call or (wanted is not None and wanted.type != "text")
