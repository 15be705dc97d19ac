"""A reservation: what one request asks for, how far it has come and what it holds.

A record. The admission controller changes it, and releases exactly what it says when the request ends.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal, Protocol

from antiphon_server.admission.class_usage import Usage
from antiphon_server.admission.cost_model import CostEstimate, RequestSize, SpeechDemand
from antiphon_server.admission.resources import Resources
from antiphon_server.errors import ApiError

Kind = Literal["text", "speech"]

# Of all reservations that this task makes: a gateway gives it with the request.
request_priority: ContextVar[int] = ContextVar("request_priority", default=0)


@dataclass(eq=False, slots=True)
class Reservation:
    """`owner`: stands for the API key; requests are shared fairly between owners. `speech`: None for text.

    `number`: in the order of arrival. `tokens`, `frames`: of the answer so far, all choices together.
    `debited_tokens`, `debited_audio_s`: charged to the key when the request began to wait.
    `unread_tokens`: of a prompt that the Thinker has not read. `slot`: resolved when the request starts or
    is refused. `usage`: of its key's class, from its start; its own if it `is_unpaid`. `answered`: the answer
    came to its own end. `part_of`: a request whose parts each have a slot; it pays for all of them when
    `has_parts` becomes true, and waits for no slot itself. `priority`: higher starts first.
    """

    owner: str = ""
    speech: SpeechDemand | None = None
    part_of: Reservation | None = None
    priority: int = field(default_factory=request_priority.get)
    size: RequestSize = field(default_factory=RequestSize, init=False)
    estimate: CostEstimate = field(default_factory=CostEstimate, init=False)
    held: Resources = field(default_factory=Resources, init=False)
    usage: Usage = field(default_factory=Usage, init=False)
    number: int = field(default=0, init=False)
    tokens: int = field(default=0, init=False)
    frames: int = field(default=0, init=False)
    media_seconds: float = field(default=0.0, init=False)
    media_bytes: int = field(default=0, init=False)
    unread_tokens: int = field(default=0, init=False)
    debited_tokens: int = field(default=0, init=False)
    debited_audio_s: float = field(default=0.0, init=False)
    waiting_since: float = field(default=0.0, init=False)
    started_at: float | None = field(default=None, init=False)
    slot: asyncio.Future[None] | None = field(default=None, init=False)
    refusal: ApiError | None = field(default=None, init=False)
    fell_back: bool = field(default=False, init=False)
    text_is_complete: bool = field(default=False, init=False)
    answered: bool = field(default=False, init=False)
    has_parts: bool = field(default=False, init=False)

    @property
    def kind(self) -> Kind:
        return "text" if self.speech is None else "speech"

    @property
    def live(self) -> bool:
        return self.speech is not None and self.speech.live

    @property
    def speech_optional(self) -> bool:
        return self.speech is not None and self.speech.optional

    @property
    def is_unpaid(self) -> bool:
        """A part of a request that pays for itself alone, as what is read ahead of it."""
        return self.part_of is not None and not self.part_of.has_parts

    def fall_back_to_text(self) -> None:
        """Ask for no speech any more. Only before the request has started."""
        self.fell_back = True
        self.speech = None


class AdmissionAudit(Protocol):
    """Is informed in the task of the request."""

    def admitted(self, reservation: Reservation, waited_s: float) -> None: ...

    def refused(self, reservation: Reservation, error: ApiError) -> None: ...
