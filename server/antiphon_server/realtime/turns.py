"""The user's turns: input audio, detected or pushed, becomes items of the conversation."""

from __future__ import annotations

from antiphon_executor.interface.media import INPUT_SAMPLE_RATE_HZ
from antiphon_server.errors import BadRequest
from antiphon_server.openai_api.realtime.session import Session, TurnDetection
from antiphon_server.realtime.audio.input_audio import InputAudio, milliseconds
from antiphon_server.realtime.audio.sample_formats import InputDecoder
from antiphon_server.realtime.audio.sound import HeardSound, Samples, heard_sound
from antiphon_server.realtime.audio.turn_detector import (
    SpeechSoFar,
    SpeechStarted,
    SpeechStopped,
    TurnDetector,
    turn_rule,
)
from antiphon_server.realtime.client_items import decode_base64
from antiphon_server.realtime.conversation import Conversation
from antiphon_server.realtime.effects import Effect, Listen, Step, Transcribe
from antiphon_server.realtime.event_writer import EventWriter
from antiphon_server.realtime.items import HeardPart, Message
from antiphon_server.realtime.responses import Responses

_LEAST_S = 0.1


class Turns:
    """`longest_s`: of one turn. `interrupt_ms`: of speech that interrupts a response.

    `detector`: None if the client ends its turns itself. It is replaced when its place in the input changes.
    """

    def __init__(
        self,
        session: Session,
        conversation: Conversation,
        responses: Responses,
        writer: EventWriter,
        owner: str,
        longest_s: float,
        interrupt_ms: int,
    ) -> None:
        self._session = session
        self._conversation = conversation
        self._responses = responses
        self._writer = writer
        self._owner = owner
        self._longest_s = longest_s
        self._interrupt = interrupt_ms * INPUT_SAMPLE_RATE_HZ // 1_000
        self._decoder = InputDecoder(session.audio.input.format)
        self._audio = InputAudio()
        self._next_id: str | None = None
        self._interrupt_at: int | None = None
        self.detector: TurnDetector | None = None
        self._reset_detector()

    @property
    def _asked(self) -> TurnDetection | None:
        return self._session.audio.input.turn_detection

    @property
    def speech(self) -> SpeechSoFar | None:
        """What the user says now: a detected utterance, or all input if the client ends its turns itself."""
        if self.detector is not None:
            return self.detector.speech
        if not self._audio.kept:
            return None
        return SpeechSoFar(self._audio.kept_from, self._audio.received, has_paused=False)

    def speech_samples(self, start: int, until: int) -> Samples:
        """Of the speech so far."""
        return self._audio.copy(start, until)

    @property
    def answers(self) -> bool:
        """Whether a turn is answered: a detected one if so asked, one that the client ends as a rule."""
        return self._asked is None or self._asked.create_response

    def change_session(self, session: Session) -> None:
        before, self._session = self._session, session
        if session.audio.input.format != before.audio.input.format:
            self._decoder = InputDecoder(session.audio.input.format)
        if self._asked == before.audio.input.turn_detection:
            return
        if self.detector is None or self._asked is None:
            self._reset_detector()
        else:
            self.detector.rule = turn_rule(self._asked, self._longest_s)

    @property
    def kept_bytes(self) -> int:
        """Of the input, as much for its features, and for its detection where turns are detected."""
        return 2 * self._audio.kept * (2 if self.detector is None else 3)

    def decode(self, encoded: str) -> Samples:
        """The next audio of the client, of which some waits for more. Raises BadRequest."""
        return self._decoder.decode(decode_base64(encoded, "audio"))

    def append(self, samples: Samples) -> Step:
        """Raises BadRequest."""
        # Beside a turn that goes on, as much may wait for its detection.
        limit_s = self._longest_s if self.detector is None else 2 * self._longest_s
        if self._audio.kept_s + len(samples) / INPUT_SAMPLE_RATE_HZ > limit_s:
            message = f"The input audio buffer would have more than {limit_s:g} s. Commit or clear it."
            raise BadRequest(message, param="audio", code="input_audio_buffer_full")
        self._audio.append(samples)
        return Step() if self.detector is None else Step(effects=[Listen(samples)])

    def commit(self) -> Step:
        """The client ends a turn. Raises BadRequest."""
        if self._audio.kept_s < _LEAST_S:
            raise BadRequest(
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
                f"but buffer only has {milliseconds(self._audio.kept)}ms of audio.",
                code="input_audio_buffer_commit_empty",
            )
        self._check_room()
        sound = heard_sound(self._audio.take_all(), self._owner)
        step = self._commit(sound)
        if self.detector is None:
            step.heard.append(sound)
        self._reset_detector()
        return step

    def clear(self) -> Step:
        self._audio.clear()
        # Half a sample that is left would shift all audio that follows by a byte.
        self._decoder = InputDecoder(self._session.audio.input.format)
        self._reset_detector()
        return Step([self._writer.event("input_audio_buffer.cleared")])

    def hear(self, probability: float) -> Step:
        """The probability of speech in the detector's next frame."""
        if self.detector is None:
            return Step()
        step = Step()
        match self.detector.add_frame(probability):
            case SpeechStarted() as started:
                self._next_id = self._next_id or self._writer.make_id("item")
                event = self._writer.event(
                    "input_audio_buffer.speech_started",
                    audio_start_ms=milliseconds(started.start),
                    item_id=self._next_id,
                )
                step.events.append(event)
                self._interrupt_at = started.at + self._interrupt
            case SpeechStopped() as stopped:
                self._interrupt_at = None
                step.add(self._end_turn(stopped))
        self._audio.drop_before(self.detector.needed_from)
        step.add(self._interrupt_when_due(self.detector))
        return step

    def _interrupt_when_due(self, detector: TurnDetector) -> Step:
        due = self._interrupt_at is not None and detector.at >= self._interrupt_at
        if not due or not detector.is_voiced:
            return Step()
        self._interrupt_at = None
        if self._asked is None or not self._asked.interrupt_response:
            return Step()
        return self._responses.interrupt()

    def _end_turn(self, stopped: SpeechStopped) -> Step:
        event = self._writer.event(
            "input_audio_buffer.speech_stopped",
            audio_end_ms=milliseconds(stopped.end),
            item_id=self._next_id,
        )
        try:
            self._check_room()
        except BadRequest as error:
            self._next_id = None
            return Step([event, self._writer.error(error, None)])
        step = Step([event])
        sound = heard_sound(self._audio.take(stopped.start, stopped.end), self._owner)
        step.add(self._commit(sound))
        step.heard.append(sound)
        if self.answers:
            step.add(self._responses.answer_turn())
        return step

    def _commit(self, sound: HeardSound) -> Step:
        item_id, self._next_id = self._next_id or self._writer.make_id("item"), None
        part = HeardPart(sound)
        item = Message(item_id, "user", [part])
        previous = self._conversation.add(item)
        event = self._writer.event
        placed = {"previous_item_id": previous, "item": item.show()}
        transcription = self._session.audio.input.transcription
        effects: list[Effect] = [] if transcription is None else [Transcribe(item_id, 0, part, transcription)]
        return Step(
            [
                event("input_audio_buffer.committed", previous_item_id=previous, item_id=item_id),
                event("conversation.item.added", **placed),
                event("conversation.item.done", **placed),
            ],
            effects,
        )

    def _check_room(self) -> None:
        self._conversation.check_new(None)

    def _reset_detector(self) -> None:
        """Turns are detected from the next sample on, or no longer."""
        self._interrupt_at = None
        self.detector = None
        if self._asked is not None:
            self.detector = TurnDetector(turn_rule(self._asked, self._longest_s), self._audio.received)
