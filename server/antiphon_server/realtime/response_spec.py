"""The checked form of a realtime response: that of the chat request that asks for the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from antiphon_executor.interface.request import TokensAhead
from antiphon_server.chat.request_spec import RequestSpec, make_spec
from antiphon_server.chat.service import Service
from antiphon_server.chat.voices import choose_voice
from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.client_json import ClientJson
from antiphon_server.openai_api.options import (
    AudioOptions,
    Function,
    FunctionName,
    NamedToolChoice,
    Tool,
)
from antiphon_server.openai_api.options import ToolChoice as ChatToolChoice
from antiphon_server.openai_api.realtime.session import Session, ToolChoice
from antiphon_server.openai_api.request import ChatRequest
from antiphon_server.openai_api.responses.request import FunctionTool, NamedFunction
from antiphon_server.realtime.effects import ResponsePlan
from antiphon_server.realtime.items import HeardPart, Message
from antiphon_server.realtime.prompt_messages import read_items


def build_response_spec(
    plan: ResponsePlan, response_id: str, service: Service, model: str, owner: str | None
) -> RequestSpec:
    """Raises BadRequest."""
    limits = service.settings.server.limits
    request, ahead = _chat_request(plan), _read_ahead(plan)
    read = read_items(
        plan.instructions,
        plan.items,
        # A choice of one function changes the answer's schema, not the prompt.
        [] if plan.tool_choice == "none" else request.tools,
        ClientJson(limits.json_depth, limits.json_nodes),
    )
    spec = make_spec(request, read, service, model, owner, "openai")
    return replace(spec, head=replace(spec.head, id=response_id), ahead=ahead)


def _read_ahead(plan: ResponsePlan) -> TokensAhead:
    """What was read of the prompt while the user said its last turn."""
    parts = plan.items[-1].parts if plan.items and isinstance(plan.items[-1], Message) else ()
    written = [part.sound.written for part in parts if isinstance(part, HeardPart)]
    return next((one.ahead for one in written if one is not None), TokensAhead())


def check_session(session: Session, service: Service) -> None:
    """Raises BadRequest if the model cannot do what the session asks for."""
    card = service.engine.card
    if session.speaks and not card.speaks:
        raise BadRequest(
            "This model answers in text only.",
            param="session.output_modalities",
            hint='Send output_modalities: ["text"].',
        )
    if card.speaks:
        choose_voice(session.audio.output.voice, card, "session.audio.output.voice")
    if session.tools and not service.prompts.template.takes_tools:
        raise BadRequest("The model's chat template does not support tools.", param="session.tools")
    if session.audio.input.turn_detection is not None and "audio" not in card.input_modalities:
        raise BadRequest("This model does not hear.", param="session.audio.input.turn_detection")


def _chat_request(plan: ResponsePlan) -> ChatRequest:
    """All parts are checked already, so nothing is validated again."""
    given: dict[str, Any] = {}
    if plan.max_output_tokens != "inf":
        given["max_completion_tokens"] = plan.max_output_tokens
    if plan.speaks:
        given["modalities"] = ("text", "audio")
        given["audio"] = AudioOptions.model_construct(voice=plan.voice, format="pcm16")
    return ChatRequest.model_construct(
        **given,
        messages=(),
        stream=True,
        tools=tuple(_tool_of(tool) for tool in plan.tools),
        tool_choice=_choice_of(plan.tool_choice) if plan.tools else None,
    )


def _tool_of(tool: FunctionTool) -> Tool:
    """The prompt shows only what the client has set."""
    names = tool.model_fields_set & Function.model_fields.keys()
    return Tool.model_construct(
        type="function", function=Function.model_construct(**{name: getattr(tool, name) for name in names})
    )


def _choice_of(choice: ToolChoice) -> ChatToolChoice:
    if not isinstance(choice, NamedFunction):
        return choice
    return NamedToolChoice.model_construct(
        type="function", function=FunctionName.model_construct(name=choice.name)
    )
