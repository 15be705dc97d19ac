"""The session of one connection: its fields, how an update merges with them, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.base import ApiModel
from antiphon_server.openai_api.realtime.session import Session, fields_of
from antiphon_server.openai_api.validation_errors import to_bad_request
from antiphon_server.realtime.items import Event

# A null elsewhere means "not given".
_CLEARED_BY_NULL = frozenset({"turn_detection", "transcription"})
# An object with another `type` replaces the one before; these have no type that could differ.
_REPLACED = frozenset({"tools", "tool_choice", "truncation"})
_BETA_NAMES = {
    "modalities": "output_modalities",
    "voice": "audio.output.voice",
    "speed": "audio.output.speed",
    "input_audio_format": "audio.input.format",
    "output_audio_format": "audio.output.format",
    "input_audio_transcription": "audio.input.transcription",
    "input_audio_noise_reduction": "audio.input.noise_reduction",
    "turn_detection": "audio.input.turn_detection",
    "max_response_output_tokens": "max_output_tokens",
}

CheckSession = Callable[[Session], None]


class _SessionHolder(ApiModel):
    session: Session


@dataclass(frozen=True, slots=True)
class SessionIdentity:
    """What a session keeps for its whole life. `expires_at`: Unix seconds."""

    id: str
    model: str
    expires_at: int


def first_session(asked: Mapping[str, Any] | None = None, voice: str | None = None) -> Session:
    """The session of a new connection. `asked`: fields that it begins with. Raises BadRequest.

    `voice`: the model's default.
    """
    begun = {
        "type": "realtime",
        "audio": {"input": {"turn_detection": {"type": "server_vad"}}, "output": {"voice": voice}},
    }
    return read_session(_merge(begun, asked or {}))


class SessionState:
    """`check`: raises BadRequest if the model cannot do what a session asks for."""

    def __init__(self, identity: SessionIdentity, session: Session, check: CheckSession) -> None:
        self.identity = identity
        self.session = session
        self._check = check

    def updated(self, update: Mapping[str, Any]) -> Session:
        """The session with the given fields changed. Raises BadRequest; changes nothing itself."""
        model = update.get("model")
        if model is not None and model != self.identity.model:
            raise BadRequest("The model of a session cannot be changed.", param="session.model")
        session = read_session(_merge(fields_of(self.session), update))
        self._check(session)
        return session

    def show(self) -> Event:
        fields = fields_of(self.session)
        identity = self.identity
        return {
            **fields,
            "object": "realtime.session",
            "id": identity.id,
            "model": identity.model,
            "expires_at": identity.expires_at,
        }


def read_session(fields: Mapping[str, Any]) -> Session:
    """Raises BadRequest, whose `param` begins with `session`."""
    for old, new in _BETA_NAMES.items():
        if old in fields:
            raise BadRequest(
                f"Unknown parameter: 'session.{old}'. Use 'session.{new}'.",
                param=f"session.{old}",
                code="unknown_parameter",
            )
    data = {"session": dict(fields)}
    try:
        return _SessionHolder.model_validate(data).session
    except ValidationError as error:
        raise to_bad_request(error, data, _SessionHolder) from None


def _merge(current: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """A deep merge of present fields."""
    merged = dict(current)
    for name, value in update.items():
        before = merged.get(name)
        if value is None:
            if name in _CLEARED_BY_NULL:
                merged[name] = None
        elif isinstance(value, dict) and isinstance(before, Mapping) and _is_same_kind(name, before, value):
            merged[name] = _merge(before, value)
        else:
            merged[name] = value
    return merged


def _is_same_kind(name: str, before: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    return name not in _REPLACED and ("type" not in value or before.get("type") == value["type"])
