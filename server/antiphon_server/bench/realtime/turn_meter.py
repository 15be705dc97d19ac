"""Meter of one turn: the server's events and their times in, a `TurnRecord` out. It does no I/O."""

from __future__ import annotations

from typing import Any

from antiphon_server.bench.measure.player import Player
from antiphon_server.bench.realtime.turn_record import TurnOutcome, TurnRecord

_BYTES_PER_S = 48_000


class TurnMeter:
    """`spoken_until_s`: when the user's speech ends, on the clock of the events."""

    def __init__(self, spoken_until_s: float, start_buffer_s: float) -> None:
        self._spoken_until_s = spoken_until_s
        self._player = Player(start_buffer_s)
        self._answer: str | None = None
        self._text: list[str] = []
        self._detected_s: float | None = None
        self._first_s: float | None = None
        self._done_s: float | None = None
        self._early_ends = 0
        self._false_barge_ins = 0
        self.outcome: TurnOutcome | None = None
        self._reason: str | None = None

    @property
    def is_detected(self) -> bool:
        """Whether the server has noticed the end of the turn."""
        return self._detected_s is not None

    @property
    def has_ended(self) -> bool:
        return self.outcome is not None

    @property
    def played_until_s(self) -> float:
        """When the player has played all that has arrived; the time of the first sound if none has."""
        heard = self._player.to_playback()
        return (self._first_s or self._spoken_until_s) + heard.heard_s + heard.underrun_s

    def add(self, event: dict[str, Any], at_s: float) -> None:
        """Once the turn has ended, only speech that the server hears counts."""
        kind = event.get("type")
        if self.has_ended and kind != "input_audio_buffer.speech_started":
            return
        match kind:
            case "input_audio_buffer.speech_stopped":
                self._end_of_speech(at_s)
            case "input_audio_buffer.speech_started" if self.is_detected:
                self._false_barge_ins += 1
            case "response.created" if at_s >= self._spoken_until_s and self._answer is None:
                self._answer = event["response"]["id"]
            case "response.output_audio.delta" if event["response_id"] == self._answer:
                self._first_s = self._first_s or at_s
                self._player.add_packet(at_s, len(event["delta"]) * 3 // 4 / _BYTES_PER_S)
            case "response.output_audio_transcript.delta" if event["response_id"] == self._answer:
                self._text.append(event["delta"])
            case "response.done" if event["response"]["id"] == self._answer:
                self._end_of_answer(event["response"], at_s)
            case "error":
                self._reason = str(event["error"].get("code") or event["error"].get("message"))

    def give_up(self, outcome: TurnOutcome, reason: str | None = None) -> None:
        """Nothing more is awaited. What has been decided before stays."""
        if self.outcome is None:
            self.outcome, self._reason = outcome, reason or self._reason

    def record(self, conversation: int, turn: int, kind: str) -> TurnRecord:
        return TurnRecord(
            conversation=conversation,
            turn=turn,
            kind=kind,
            outcome=self.outcome or "unanswered",
            reason=self._reason,
            detected_s=self._since_speech(self._detected_s),
            latency_s=self._since_speech(self._first_s),
            done_s=self._since_speech(self._done_s),
            early_ends=self._early_ends,
            false_barge_ins=self._false_barge_ins,
            playback=self._player.to_playback() if self._first_s is not None else None,
            text="".join(self._text),
        )

    def _end_of_speech(self, at_s: float) -> None:
        if at_s < self._spoken_until_s:
            self._early_ends += 1
        elif self._detected_s is None:
            self._detected_s = at_s

    def _end_of_answer(self, response: dict[str, Any], at_s: float) -> None:
        self._done_s = at_s
        status, details = response.get("status"), response.get("status_details") or {}
        # An answer that the limit of tokens has ended was heard as it is.
        if status in ("completed", "incomplete"):
            self.outcome = "ok" if self._first_s is not None else "failed"
            self._reason = None if self._first_s is not None else "no sound"
        elif details.get("reason") == "turn_detected":
            self.outcome = "cut"
        else:
            error = details.get("error") or {}
            self.outcome = "failed"
            self._reason = str(error.get("code") or error.get("message") or details.get("reason") or status)

    def _since_speech(self, at_s: float | None) -> float | None:
        return None if at_s is None else at_s - self._spoken_until_s
