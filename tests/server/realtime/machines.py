"""A realtime machine without a server, with ids that count."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import Any

from antiphon_server.openai_api.realtime.client_events import parse_client_event
from antiphon_server.realtime.effects import StartResponse, Step
from antiphon_server.realtime.event_writer import EventWriter
from antiphon_server.realtime.machine import MachineLimits, RealtimeMachine
from antiphon_server.realtime.open_response import OpenResponse
from antiphon_server.realtime.session_state import SessionIdentity, first_session

PUSH_TO_TALK = {"audio": {"input": {"turn_detection": None}}}


class CountingIds:
    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def __call__(self, prefix: str) -> str:
        self._counts[prefix] += 1
        return f"{prefix}_{self._counts[prefix]}"


def make_machine(session: dict[str, Any] | None = None, **limits: Any) -> RealtimeMachine:
    return RealtimeMachine(
        SessionIdentity("sess_1", "echo", 3_600),
        first_session(session),
        lambda _: None,
        MachineLimits(**limits),
        writer=EventWriter(CountingIds()),
    )


def send(machine: RealtimeMachine, kind: str, **fields: Any) -> Step:
    event = parse_client_event(json.dumps({"type": kind, **fields}), 64, 10_000)
    return machine.apply(event)


def start(machine: RealtimeMachine, **response: Any) -> OpenResponse:
    """A response that has been created."""
    step = send(machine, "response.create", response=response)
    (effect,) = [one for one in step.effects if isinstance(one, StartResponse)]
    return effect.response


def user_text(text: str, **fields: Any) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "user", "content": content, **fields}


def silence(ms: int) -> str:
    return base64.b64encode(bytes(48 * ms)).decode()


def kinds(step: Step) -> list[str]:
    return [event["type"] for event in step.events]
