"""One conversation of a benchmark over a WebSocket: a session, turn after turn, and their records."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from antiphon_server.bench.options import Options, RealtimeOptions
from antiphon_server.bench.realtime.microphone import Microphone
from antiphon_server.bench.realtime.turn_meter import TurnMeter
from antiphon_server.bench.realtime.turn_record import TurnOutcome, TurnRecord
from antiphon_server.bench.realtime.utterance import RATE_HZ, Utterance

_CLOSE_S = 2.0
_PCM = {"type": "audio/pcm", "rate": RATE_HZ}


class Conversation:
    """`number`: in its level. `records` grows with each turn, also if the run is stopped."""

    def __init__(
        self,
        number: int,
        script: Sequence[Utterance],
        options: Options,
        talk: RealtimeOptions,
        model: str,
    ) -> None:
        self._number = number
        self._script = script
        self._options = options
        self._talk_options = talk
        self._model = model
        self._meter: TurnMeter | None = None
        self._news = asyncio.Event()
        self.records: list[TurnRecord] = []

    async def run(self) -> None:
        """Whatever happens, it has a record for each turn that was begun."""
        key = self._options.api_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            async with connect(
                realtime_url(self._options.url, self._model),
                additional_headers=headers,
                open_timeout=self._options.timeout_s,
                close_timeout=_CLOSE_S,
                compression=None,
                max_size=None,
            ) as socket:
                await self._talk(socket)
        except (OSError, TimeoutError, WebSocketException) as error:
            if not self.records:
                self._fail(error)

    async def _talk(self, socket: ClientConnection) -> None:
        await socket.send(
            json.dumps({"type": "session.update", "session": session_of(self._options, self._talk_options)})
        )
        microphone = Microphone(socket.send, self._options.seed * 1_000 + self._number)
        listening = asyncio.create_task(self._listen(socket))
        sending = asyncio.create_task(microphone.run())
        speaking = asyncio.create_task(self._take_turns(microphone, socket))
        try:
            await asyncio.wait({speaking, listening, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (speaking, listening, sending):
                task.cancel()
            await asyncio.gather(speaking, listening, sending, return_exceptions=True)
        if not speaking.cancelled():
            speaking.result()
            return
        self._close_turn("closed", _why_closed(socket, listening))

    async def _take_turns(self, microphone: Microphone, socket: ClientConnection) -> None:
        await asyncio.sleep(self._talk_options.pause_s)
        for turn, utterance in enumerate(self._script, start=1):
            meter = await self._take_turn(microphone, utterance)
            if meter.outcome == "missed_end":
                # What it has heard must not become a part of the next turn.
                with suppress(ConnectionClosed):
                    await socket.send(json.dumps({"type": "input_audio_buffer.clear"}))
            # What the server hears in the pause belongs to this turn.
            await asyncio.sleep(self._talk_options.pause_s)
            self._record(meter, turn, utterance)

    async def _take_turn(self, microphone: Microphone, utterance: Utterance) -> TurnMeter:
        options = self._options
        until_s = microphone.say(utterance)
        meter = self._meter = TurnMeter(until_s, options.start_buffer_s)
        await asyncio.sleep(max(0.0, until_s - time.monotonic()))
        end_s = until_s + self._talk_options.end_within_s
        if not await self._becomes(lambda: meter.is_detected or meter.has_ended, end_s):
            meter.give_up("missed_end")
        elif not await self._becomes(lambda: meter.has_ended, until_s + options.timeout_s):
            meter.give_up("unanswered")
        # The user listens to the end.
        await asyncio.sleep(max(0.0, meter.played_until_s - time.monotonic()))
        return meter

    async def _becomes(self, condition: Callable[[], bool], deadline_s: float) -> bool:
        """Whether an event makes it true before the deadline."""
        while not condition():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            self._news.clear()
            # Not `wait_for`: in Python 3.11 it loses a cancellation that comes with the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._news.wait()
        return True

    async def _listen(self, socket: ClientConnection) -> None:
        async for frame in socket:
            at_s = time.monotonic()
            event: Any = json.loads(frame)
            if isinstance(event, dict) and self._meter is not None:
                self._meter.add(event, at_s)
                self._news.set()

    def _record(self, meter: TurnMeter, turn: int, utterance: Utterance) -> None:
        self._meter = None
        self.records.append(meter.record(self._number, turn, utterance.kind))

    def _close_turn(self, outcome: TurnOutcome, reason: str) -> None:
        """Of a turn that has ended already, the next one is closed."""
        turn = len(self.records) + 1
        if self._meter is not None and self._meter.has_ended:
            self._record(self._meter, turn, self._script[turn - 1])
            turn += 1
        if turn > len(self._script):
            return
        meter = self._meter or TurnMeter(time.monotonic(), 0.0)
        meter.give_up(outcome, reason)
        self._record(meter, turn, self._script[turn - 1])

    def _fail(self, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if isinstance(error, InvalidStatus):
            body = (error.response.body or b"")[:300].decode(errors="replace")
            reason = f"{error.response.status_code} {body}"
        self._close_turn("no_connection", reason)


def _why_closed(socket: ClientConnection, listening: asyncio.Task[None]) -> str:
    error = None if listening.cancelled() else listening.exception()
    if error is not None and not isinstance(error, WebSocketException):
        return f"an event of the server cannot be read: {error!r}"
    return str(socket.close_reason or socket.close_code or "the connection ended")


def realtime_url(url: str, model: str) -> str:
    """`url`: the API's base URL."""
    return f"ws{url.removeprefix('http')}/realtime?model={quote(model, safe='')}"


def session_of(options: Options, talk: RealtimeOptions) -> dict[str, Any]:
    """Fields of `--extra-body` are added unchanged."""
    workload, detection = options.workload, {"type": talk.turn_detection}
    voice = {"voice": workload.voice} if workload.voice else {}
    limit = {"max_output_tokens": workload.max_tokens} if workload.max_tokens else {}
    return {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {
            "input": {"format": _PCM, "turn_detection": detection},
            "output": {"format": _PCM, **voice},
        },
        **limit,
        **workload.extra,
    }
