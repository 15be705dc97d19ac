"""The request and the answer of `POST /v1/realtime/client_secrets`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from antiphon_server.openai_api.base import ApiModel
from antiphon_server.openai_api.body import parse_body


class ExpiresAfter(ApiModel):
    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Field(ge=10, le=7_200, strict=True)] = 600


class ClientSecretRequest(ApiModel):
    """`session`: fields of a realtime session, as in `session.update`."""

    expires_after: ExpiresAfter = ExpiresAfter()
    session: dict[str, Any] = Field(default={"type": "realtime"})


class ClientSecret(BaseModel):
    """`expires_at`: Unix seconds. `session`: the first state of the connections that `value` opens."""

    value: str
    expires_at: int
    session: dict[str, Any]


def parse_secret_request(body: bytes) -> ClientSecretRequest:
    """Raises BadRequest, whose `param` is the path of the field in the client's JSON."""
    return parse_body(body or b"{}", ClientSecretRequest)
