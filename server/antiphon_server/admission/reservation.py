"""One turn's place at the door, and what it has taken so far.

In: the turn's steps and its events. Out: waiting, or a refusal; `admission.py` decides. A ticket keeps its
own account, so that whatever happens to the turn exactly that is given back.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from antiphon_executor.interface.events import (
    FRAMES_PER_SECOND,
    OmniEvent,
    PromptCounted,
    SpeechDelta,
    TextDelta,
)
from antiphon_server.admission.capacity import Price
from antiphon_server.admission.cost_model import RequestSize, price
from antiphon_server.errors import ApiError

if TYPE_CHECKING:
    from antiphon_server.admission.controller import Admission


class Reservation:
    """`async with` takes the place and gives it back, whatever happens in between.

    Between the two: `hold(media_bytes)` counts what its media take; `await start(size)` waits for a slot;
    `see(event)` follows what becomes of the turn; `text_ended()` gives the Thinker's part back while the
    answer is still being spoken. `price` is what it asks for, `held` what it has. `debited`: tokens and
    seconds of sound of its key's rates. `speaks` may become False until it has started, where
    `speech_optional` allows that. `is_whole`: its answer came to its own end.
    """

    def __init__(
        self,
        door: Admission,
        *,
        speaks: bool,
        live: bool,
        choices: int,
        owner: str,
        speech_optional: bool,
    ) -> None:
        self._door = door
        self.owner = owner
        self.speaks = speaks
        self.live = speaks and live
        self.speech_optional = speaks and speech_optional
        self.size = RequestSize(choices=choices)
        self.price = Price()
        self.held = Price()
        self.media_seconds = 0.0
        self.media_bytes = 0
        self.unread_tokens = 0
        self.text_is_complete = False
        self.debited = (0, 0.0)
        self.fell_back = False
        self.is_whole = False
        self.waiting_since = 0.0
        self.started_at: float | None = None
        self.slot: asyncio.Future[None] | None = None
        self.refusal: ApiError | None = None

    async def __aenter__(self) -> Self:
        self._door.enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_whole = kind is None
        self._door.leave(self)

    def hold(self, media_bytes: int) -> None:
        """So much more decoded media, until the turn ends. Raises `Overloaded` where others leave no room."""
        self._door.hold(self, media_bytes)

    async def start(self, size: RequestSize | None = None) -> None:
        """Wait for a slot. Nothing given: an empty prompt. Afterwards `speaks` says whether it is a stream's.

        Raises `Overloaded` where the turn's key has used its rate, when too much media or too long prompts
        wait, or when the place in the queue went to a key that has fewer. Past the deadline it raises
        `Unavailable`, or `Overloaded` where the key itself runs as many as it may.
        """
        self.resize(replace(size or self.size, choices=self.size.choices))
        await self._door.start(self)

    def see(self, event: OmniEvent) -> None:
        """What the turn takes grows with it."""
        match event:
            case PromptCounted():
                self._door.prompt_read(self, event)
            case TextDelta(tokens=tokens):
                self._door.grown(self, replace(self.size, written=self.size.written + tokens), tokens, 0.0)
            case SpeechDelta(frames=frames):
                grown = replace(self.size, frames=self.size.frames + frames)
                self._door.grown(self, grown, frames, frames / FRAMES_PER_SECOND)

    def text_ended(self) -> None:
        """The text is complete: another turn may write. May be called more than once."""
        self._door.text_ended(self)

    def resize(self, size: RequestSize) -> None:
        """Its price follows from its size."""
        self.size = size
        self.price = price(size, self.speaks, self.live, self._door.capacity)

    @property
    def price_in_text(self) -> Price:
        """What it would ask for without speech."""
        return price(self.size, False, False, self._door.capacity)

    def fall_back_to_text(self) -> None:
        """It asks for no stream any more."""
        self.fell_back = True
        self.speaks = self.live = self.speech_optional = False
        self.price = self.price_in_text
