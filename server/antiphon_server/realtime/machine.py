"""The state machine of one realtime connection: client events, detected speech and answers to server events.

It does no input or output. What needs it is returned as an effect.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from antiphon_server.errors import ApiError, BadRequest
from antiphon_server.openai_api.realtime import client_events as wire
from antiphon_server.openai_api.realtime.session import Session
from antiphon_server.realtime.audio.sound import Samples
from antiphon_server.realtime.audio.spoken_sound import SpokenSound
from antiphon_server.realtime.audio.turn_detector import SpeechSoFar, TurnDetector
from antiphon_server.realtime.client_items import NO_MEDIA, EventMedia, ItemReader
from antiphon_server.realtime.conversation import Conversation
from antiphon_server.realtime.effects import ResponsePlan, Step
from antiphon_server.realtime.event_writer import EventWriter
from antiphon_server.realtime.items import Event, HeardPart, Item, Message, SpokenPart
from antiphon_server.realtime.memory import MemoryAccount, RealtimeMemory
from antiphon_server.realtime.open_response import OpenResponse, Outcome
from antiphon_server.realtime.responses import Responses
from antiphon_server.realtime.session_state import CheckSession, SessionIdentity, SessionState
from antiphon_server.realtime.turns import Turns

# A client may report this much more than was sent: its player rounds.
_SPARE_MS = 80


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """`media_bytes`: sound, images and text of all items. `turn_s`: of one turn of the user."""

    items: int = 1_000
    media_bytes: int = 256 << 20
    turn_s: float = 600.0
    interrupt_ms: int = 0


class RealtimeMachine:
    """`owner`: of the API key. `check`: see `SessionState`."""

    def __init__(
        self,
        identity: SessionIdentity,
        session: Session,
        check: CheckSession,
        limits: MachineLimits,
        owner: str = "",
        writer: EventWriter | None = None,
        memory: MemoryAccount | None = None,
    ) -> None:
        self.memory = memory or MemoryAccount(RealtimeMemory(sys.maxsize))
        self.writer = writer or EventWriter()
        self.state = SessionState(identity, session, check)
        self.conversation = Conversation(self.writer.make_id("conv"), limits.items)
        self.responses = Responses(self.state, self.conversation, self.writer)
        self._limits = limits
        self._owner = owner
        self._turns = Turns(
            session,
            self.conversation,
            self.responses,
            self.writer,
            owner,
            limits.turn_s,
            limits.interrupt_ms,
        )
        # By type: their union would be matched in a long chain.
        self._appliers: dict[type[wire.ClientEvent], Callable[[Any, EventMedia], Step]] = {
            wire.SessionUpdate: self._update_session,
            wire.AudioAppend: self._append,
            wire.AudioCommit: lambda _, __: self._turns.commit(),
            wire.AudioClear: lambda _, __: self._turns.clear(),
            wire.ItemCreate: self._create_item,
            wire.ItemRetrieve: lambda event, _: self._retrieve(event),
            wire.ItemDelete: lambda event, _: self._delete(event),
            wire.ItemTruncate: lambda event, _: self._truncate(event),
            wire.ResponseCreate: self._create_response,
            wire.ResponseCancel: lambda event, _: self.responses.cancel(event.response_id),
            wire.OutputAudioClear: lambda _, __: _refuse_clear(),
        }

    @property
    def detector(self) -> TurnDetector | None:
        """The detector that waits for the probabilities of its frames."""
        return self._turns.detector

    @property
    def speech(self) -> SpeechSoFar | None:
        """See `Turns.speech`."""
        return self._turns.speech

    def speech_samples(self, start: int, until: int) -> Samples:
        return self._turns.speech_samples(start, until)

    @property
    def answers(self) -> bool:
        """See `Turns.answers`."""
        return self._turns.answers

    def plan_answer(self, item: Item) -> ResponsePlan | None:
        """What would be asked for if the speech so far, as `item`, were all; None if it is not answered."""
        return self.responses.plan_answer(item) if self.answers else None

    def open(self) -> list[Event]:
        conversation = {"id": self.conversation.id, "object": "realtime.conversation"}
        return [
            self.writer.event("session.created", session=self.state.show()),
            self.writer.event("conversation.created", conversation=conversation),
        ]

    def decode(self, event: wire.AudioAppend) -> Samples:
        """The samples of the next audio event, which may be decoded in a thread. Raises BadRequest."""
        return self._turns.decode(event.audio)

    def apply(self, event: wire.ClientEvent, media: EventMedia = NO_MEDIA) -> Step:
        """`media`: of the event. An event that is refused becomes an error event."""
        try:
            return self._appliers[type(event)](event, media)
        except ApiError as error:
            return Step([self.writer.error(error, event.event_id)])
        finally:
            self._count_memory()

    def hear(self, probability: float) -> Step:
        """See `Turns.hear`."""
        return self._turns.hear(probability)

    def end_response(self, response: OpenResponse, outcome: Outcome) -> Step:
        """The model has ended a response, or failed. Nothing happens if it has been cancelled."""
        step = self.responses.end(response, outcome)
        self._count_memory()
        return step

    def transcribed(self, part: HeardPart, item_id: str, index: int, text: str, usage: Event) -> list[Event]:
        part.transcript = text
        return [
            self.writer.event(
                "conversation.item.input_audio_transcription.completed",
                item_id=item_id,
                content_index=index,
                transcript=text,
                usage=usage,
            )
        ]

    def check_memory(self, more: int = 0) -> None:
        """Raises BadRequest if the conversation keeps too much, or would with `more` bytes, and Overloaded if
        all conversations do.
        """
        held, limit = self.conversation.kept_bytes + more, self._limits.media_bytes
        if held > limit:
            raise BadRequest(
                f"The conversation would keep {held >> 20} MiB of sound, images and text; the limit is "
                f"{limit >> 20} MiB.",
                code="conversation_media_limit_exceeded",
                hint="Delete items.",
            )
        self._count_memory()
        self.memory.check(more)

    def _count_memory(self) -> None:
        self.memory.hold(self.conversation.kept_bytes + self._turns.kept_bytes)

    def _update_session(self, event: wire.SessionUpdate, _: EventMedia) -> Step:
        session = self.state.updated(event.session)
        before = self.state.session
        if session.audio.output.voice != before.audio.output.voice and self._has_spoken:
            raise BadRequest(
                "The voice of a session cannot be changed once the assistant has spoken.",
                param="session.audio.output.voice",
                code="cannot_update_voice",
            )
        self.state.session = session
        self._turns.change_session(session)
        return Step([self.writer.event("session.updated", session=self.state.show())])

    @property
    def _has_spoken(self) -> bool:
        return self.responses.has_spoken or any(one.sound.samples for one in self.responses)

    def _append(self, event: wire.AudioAppend, media: EventMedia) -> Step:
        self.check_memory()
        return self._turns.append(media.sounds[0] if media.sounds else self.decode(event))

    def _create_item(self, event: wire.ItemCreate, media: EventMedia) -> Step:
        self.check_memory()
        self.conversation.check_new(event.item.id)
        item = self._reader(media).read(event.item, "item")
        previous = self.conversation.add(item, event.previous_item_id)
        placed = {"previous_item_id": previous, "item": item.show()}
        return Step(
            [
                self.writer.event("conversation.item.added", **placed),
                self.writer.event("conversation.item.done", **placed),
            ]
        )

    def _create_response(self, event: wire.ResponseCreate, media: EventMedia) -> Step:
        return self.responses.create(event.response, self._reader(media))

    def _retrieve(self, event: wire.ItemRetrieve) -> Step:
        item = self._find(event.item_id, "retrieve")
        return Step([self.writer.event("conversation.item.retrieved", item=item.show(with_audio=True))])

    def _delete(self, event: wire.ItemDelete) -> Step:
        self.conversation.remove(self._find(event.item_id, "delete"))
        return Step([self.writer.event("conversation.item.deleted", item_id=event.item_id)])

    def _truncate(self, event: wire.ItemTruncate) -> Step:
        sound = self._sound_of(self._find(event.item_id, "truncate"), event.content_index)
        if event.audio_end_ms > sound.milliseconds + _SPARE_MS:
            raise BadRequest(
                f"Audio content of {sound.milliseconds}ms is already shorter than {event.audio_end_ms}ms",
                param="audio_end_ms",
            )
        unheard = sound.truncate(min(event.audio_end_ms, sound.milliseconds))
        fields = {name: getattr(event, name) for name in ("item_id", "content_index", "audio_end_ms")}
        return Step([self.writer.event("conversation.item.truncated", **fields)], unheard_samples=unheard)

    def _sound_of(self, item: Item, content_index: int) -> SpokenSound:
        active, is_message = self.responses.active, isinstance(item, Message)
        is_open = active is not None and active.open_id == item.id and active.head.speaks
        if active is not None and is_open and is_message and not content_index:
            return active.sound
        parts = item.parts if isinstance(item, Message) else []
        part = parts[content_index] if content_index < len(parts) else None
        if not isinstance(part, SpokenPart) or part.sound is None:
            message = "Only audio of the assistant can be truncated."
            raise BadRequest(message, param="content_index")
        return part.sound

    def _find(self, item_id: str, action: str) -> Item:
        item = self.conversation.find(item_id)
        if item is None:
            raise BadRequest(
                f"Error {action[:-1]}ing item: the item with id '{item_id}' does not exist.",
                param="item_id",
                code=f"item_{action}_invalid_item_id",
            )
        return item

    def _reader(self, media: EventMedia) -> ItemReader:
        return ItemReader(self.writer.make_id, self.state.session.audio.input.format, self._owner, media)


def _refuse_clear() -> Step:
    raise BadRequest(
        "output_audio_buffer.clear is an event of WebRTC; on a WebSocket the client stops its own player.",
        param="type",
        code="unsupported_event",
    )
