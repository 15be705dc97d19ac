"""The served model: OpenAI's model list, with fields for omni clients."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from antiphon_server.chat.prompt.template import ThinkingSwitch
from antiphon_server.chat.service import Service
from antiphon_server.errors import NotFound
from antiphon_server.http.routes.way_finding import no_route

router = APIRouter(tags=["models"])

_SHOWN_CHARS = 64


class Model(BaseModel):
    """OpenAI's model object. The fields from `root` on are vLLM's and ours.

    `has_talker` False: the checkpoint cannot speak. `reasoning`: whether the model thinks before it answers.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "antiphon"
    root: str
    max_model_len: int
    input_modalities: list[str]
    output_modalities: list[str]
    voices: list[str]
    has_talker: bool
    reasoning: ThinkingSwitch


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


def served_name(service: Service) -> str:
    """The model id that clients use."""
    return service.settings.engine.served_model_name or service.engine.card.name


def require_model(service: Service, asked: str | None) -> None:
    """Raises `NotFound`, with the served model's name, unless `asked` is that name or None."""
    name = served_name(service)
    if asked is None or asked == name:
        return
    shown = asked if len(asked) <= _SHOWN_CHARS else asked[:_SHOWN_CHARS] + "…"
    raise NotFound(
        f"the model '{shown}' is not served here; available models: {name}",
        param="model",
        code="model_not_found",
        hint="request that model, or start the server with --served-model-name",
    )


@router.get("/v1/models", summary="List the models")
async def list_models(request: Request) -> ModelList:
    return ModelList(data=[_describe(request)])


@router.get("/v1/models/{model:path}", summary="Describe a model")
async def get_model(request: Request, model: str) -> Model:
    if not model:
        raise no_route(request.url.path, ("/v1/models",))
    require_model(request.app.state.service, model)
    return _describe(request)


def _describe(request: Request) -> Model:
    service: Service = request.app.state.service
    card = service.engine.card
    return Model(
        id=served_name(service),
        created=request.app.state.started_at_unix_s,
        root=card.name,
        max_model_len=card.context_tokens,
        input_modalities=list(card.input_modalities),
        output_modalities=["text", "audio"] if card.speaks else ["text"],
        voices=list(card.voices),
        has_talker=card.has_talker,
        reasoning=service.prompts.template.thinking_switch,
    )
