"""Requests to Qwen3.5-Omni with both engines, and a record of the Talker's inputs.

The Thinker runs in float32: in bfloat16 its text depends on the CPU, and some lead to nearly tied codes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from antiphon_executor.engine.omni_engine import VllmOmniEngine
from antiphon_executor.interface.events import OmniEvent, PromptCounted, SpeechDelta, SpeechEnded, TextDelta
from antiphon_executor.interface.request import OmniRequest, ReadingRequest, SpeechSampling, TextSampling
from antiphon_executor.ipc.messages import HiddenStates
from antiphon_executor.turn.talker_session import SpeechSession, StreamHandle, Talker
from antiphon_server.admission.cost_model import tokens_of
from tests.parity.thinker.conversations import Conversation

NUMBERS: Iterator[int] = itertools.count()


@dataclass
class Given:
    """What a stream was given: the Thinker's prompt with its rows, and its text, without end markers."""

    sampling: SpeechSampling
    text: list[int] = field(default_factory=list)
    prompt: HiddenStates | None = None

    @property
    def exact(self) -> HiddenStates:
        assert self.prompt is not None
        assert self.prompt.dtype == "float32"
        return self.prompt


@dataclass
class RecordingTalker:
    """A `Talker` that writes down what goes into another; streams by request id."""

    talker: Talker
    given: dict[str, Given] = field(default_factory=dict)

    def session(self, stream: StreamHandle, sampling: SpeechSampling) -> SpeechSession:
        given = self.given[stream.request_id] = Given(sampling)
        return _RecordingSession(self.talker.session(stream, sampling), given)

    def for_known_text(self) -> RecordingTalker:
        return RecordingTalker(self.talker.for_known_text(), self.given)


@dataclass
class _RecordingSession:
    session: SpeechSession
    given: Given

    def add_text(self, token_ids: Sequence[int], *, final: bool) -> None:
        self.given.text += token_ids
        self.session.add_text(token_ids, final=final)

    async def generate_speech(self, prompt: HiddenStates) -> SpeechEnded:
        self.given.prompt = prompt
        return await self.session.generate_speech(prompt)

    def consumed_tokens(self, frames: int) -> int:
        return self.session.consumed_tokens(frames)

    def close_input(self) -> None:
        self.session.close_input()


@dataclass
class Heard:
    """What a request gave, and what its Talker was given."""

    events: list[OmniEvent]
    given: Given

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def wave(self) -> np.ndarray:
        """int16 [samples]"""
        pcm = b"".join(event.pcm for event in self.events if isinstance(event, SpeechDelta))
        return np.frombuffer(pcm, np.int16)

    @property
    def counted(self) -> PromptCounted:
        (event,) = (event for event in self.events if isinstance(event, PromptCounted))
        return event


class AriaRequests:
    """`engine` serves as it always does, with its Talker's ear open."""

    def __init__(self, engine: VllmOmniEngine, tokenizer: PreTrainedTokenizerBase) -> None:
        self.engine = engine
        self._tokenizer = tokenizer
        talker = engine._context.talker
        assert talker is not None
        self._recording = RecordingTalker(talker)
        engine._context = replace(engine._context, talker=self._recording)

    def request(self, conversation: Conversation, text: TextSampling, speech: SpeechSampling) -> OmniRequest:
        ids = tuple(self._tokenizer.encode(conversation.prompt))
        return OmniRequest(f"aria-{next(NUMBERS)}", ids, conversation.media, text, speech)

    def reckoned(self, conversation: Conversation) -> int:
        """The tokens of its prompt, as the server counts them before the engine has seen it."""
        geometry = self.engine.card.media
        return len(self._tokenizer.encode(conversation.prompt)) + tokens_of(conversation.media, geometry)

    async def hear(
        self, conversation: Conversation, speech: SpeechSampling, text: TextSampling | None = None
    ) -> Heard:
        text = text or TextSampling(max_tokens=18, temperature=0)
        request = self.request(conversation, text, speech)
        events = [event async for event in self.engine.generate(request)]
        return Heard(events, self._recording.given.pop(request.request_id))

    async def read_aloud(
        self, conversation: Conversation, pieces: tuple[tuple[int, ...], ...], speech: SpeechSampling
    ) -> Heard:
        """The pieces, as answers to a conversation without media."""
        prompt = tuple(self._tokenizer.encode(conversation.prompt))
        request = ReadingRequest(f"aria-{next(NUMBERS)}", (prompt,) * len(pieces), pieces, speech)
        events = [event async for event in self.engine.read_aloud(request)]
        return Heard(events, self._recording.given.pop(request.request_id))

    def decode(self, token_ids: list[int]) -> str:
        said: str = self._tokenizer.decode(token_ids)
        return said
