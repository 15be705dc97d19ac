"""A whole answer equals transformers' `generate`: same text, same waveform, with and without media."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from antiphon_executor.engine.omni_engine import VllmOmniEngine
from antiphon_executor.interface.errors import EngineBusy, InvalidRequest
from antiphon_executor.interface.events import PromptCounted, SpeechDelta, SpeechEnded, TextDelta, TextEnded
from antiphon_executor.interface.request import OmniRequest, ReadingRequest, SpeechSampling, TextSampling
from antiphon_server.admission.cost_model import tokens_of
from tests.parity.sound import assert_same_wave
from tests.parity.talker.oracle import SpeakingOracle
from tests.parity.thinker.conversations import CONVERSATIONS, Conversation

pytestmark = pytest.mark.engine

TEXT_TOKENS = 16
# The Talker begins long before the last of them, however busy the machine is.
LONG_TEXT = 400
FRAMES = 60
NUMBERS: Iterator[int] = itertools.count()


@dataclass
class Heard:
    """What a request gave."""

    counted: PromptCounted | None = None
    text: str = ""
    tokens: int = 0
    pcm: bytes = b""
    kinds: list[type] = field(default_factory=list)
    ended: SpeechEnded | None = None


@dataclass
class Requests:
    engine: VllmOmniEngine
    tokenizer: PreTrainedTokenizerBase

    def request(
        self, conversation: Conversation, text: TextSampling, speech: SpeechSampling | None
    ) -> OmniRequest:
        ids = tuple(self.tokenizer.encode(conversation.prompt))
        return OmniRequest(f"request-{next(NUMBERS)}", ids, conversation.media, text, speech)

    def reckoned(self, conversation: Conversation) -> int:
        """The tokens of its prompt, as the server counts them before the engine has seen it."""
        geometry = self.engine.card.media
        return len(self.tokenizer.encode(conversation.prompt)) + tokens_of(conversation.media, geometry)

    async def read_aloud(
        self, conversation: Conversation, pieces: tuple[tuple[int, ...], ...], *, frames: int = FRAMES
    ) -> Heard:
        """The pieces, as answers to a conversation without media."""
        heard = Heard()
        prompt = tuple(self.tokenizer.encode(conversation.prompt))
        speech = SpeechSampling("ethan", temperature=0, max_frames=frames)
        request = ReadingRequest(f"request-{next(NUMBERS)}", (prompt,) * len(pieces), pieces, speech)
        async for event in self.engine.read_aloud(request):
            heard.kinds.append(type(event))
            if isinstance(event, SpeechDelta):
                heard.pcm += event.pcm
            elif isinstance(event, SpeechEnded):
                heard.ended = event
        return heard

    async def hear(
        self, conversation: Conversation, *, frames: int = FRAMES, text_tokens: int = TEXT_TOKENS
    ) -> Heard:
        heard = Heard()
        text = TextSampling(max_tokens=text_tokens, temperature=0)
        speech = SpeechSampling("ethan", temperature=0, max_frames=frames)
        async for event in self.engine.generate(self.request(conversation, text, speech)):
            heard.kinds.append(type(event))
            match event:
                case PromptCounted():
                    heard.counted = event
                case TextDelta():
                    heard.text += event.text
                    heard.tokens += event.tokens
                case SpeechDelta():
                    heard.pcm += event.pcm
                case SpeechEnded():
                    heard.ended = event
        return heard


@pytest.fixture
def requests(engine: VllmOmniEngine, tokenizer: PreTrainedTokenizerBase) -> Requests:
    return Requests(engine, tokenizer)


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda c: c.name)
async def test_given_any_mix_of_media_then_text_and_waveform_are_those_of_transformers(
    requests: Requests, oracle: SpeakingOracle, conversation: Conversation
) -> None:
    truth = oracle.speak(conversation, text=TEXT_TOKENS, frames=FRAMES)
    heard = await requests.hear(conversation)
    assert finished(heard.text) == finished(requests.tokenizer.decode(truth.text))
    assert heard.ended is not None
    assert heard.ended.frames == len(truth.codes)
    assert_same_wave(np.frombuffer(heard.pcm, np.int16), truth.wave)
    assert heard.counted is not None
    assert heard.counted.total == len(truth.prompt)
    assert heard.counted.total == requests.reckoned(conversation)


async def test_given_the_text_of_an_answer_then_reading_it_aloud_is_the_answers_own_speech(
    requests: Requests, oracle: SpeakingOracle
) -> None:
    """The Talker gets the same rows without any request to the Thinker: they follow from the ids."""
    silent = next(one for one in CONVERSATIONS if not tokens_of(one.media, requests.engine.card.media))
    truth = oracle.speak(silent, text=TEXT_TOKENS, frames=FRAMES)
    answered = await requests.hear(silent)
    read = await requests.read_aloud(silent, (tuple(truth.text),))
    assert read.pcm == answered.pcm
    assert read.ended == answered.ended
    assert_same_wave(np.frombuffer(read.pcm, np.int16), truth.wave)
    assert set(read.kinds) == {SpeechDelta, SpeechEnded}
    await at_rest(requests.engine)


async def test_given_a_request_then_the_prompt_is_counted_first_and_speech_begins_before_the_text_ends(
    requests: Requests,
) -> None:
    heard = await requests.hear(CONVERSATIONS[0], text_tokens=LONG_TEXT)
    assert heard.kinds[0] is PromptCounted
    assert heard.kinds.index(SpeechDelta) < heard.kinds.index(TextEnded)
    assert SpeechEnded in heard.kinds
    assert heard.tokens == LONG_TEXT


async def test_given_the_same_request_again_then_the_cache_serves_it_and_it_sounds_the_same(
    requests: Requests,
) -> None:
    mixed = next(one for one in CONVERSATIONS if one.name == "videos with sound beside audio")
    first, again = await requests.hear(mixed), await requests.hear(mixed)
    assert again.counted is not None
    assert again.counted.cached > 0
    assert again.text == first.text
    assert again.pcm == first.pcm


async def test_given_all_conversations_at_once_then_each_sounds_as_it_does_alone(requests: Requests) -> None:
    some = CONVERSATIONS[:8]
    alone = [await requests.hear(one, frames=20) for one in some]
    together = await asyncio.gather(*(requests.hear(one, frames=20) for one in some))
    for one, other in zip(alone, together, strict=True):
        assert other.text == one.text
        difference = np.frombuffer(one.pcm, np.int16).astype(int) - np.frombuffer(other.pcm, np.int16)
        assert np.abs(difference).max() <= 1


async def test_given_more_spoken_requests_than_slots_then_the_last_is_refused_at_once(
    requests: Requests,
) -> None:
    text = TextSampling(max_tokens=200, temperature=0)
    speech = SpeechSampling("ethan", temperature=0, max_frames=500)  # greedy, it finds no end
    opened = [requests.engine.generate(requests.request(CONVERSATIONS[0], text, speech)) for _ in range(9)]
    for one in opened[:8]:
        await anext(one)
    assert requests.engine.status().slots_used == 8
    with pytest.raises(EngineBusy):
        await anext(opened[8])
    silent = [
        event
        async for event in requests.engine.generate(requests.request(CONVERSATIONS[0], TextSampling(4), None))
    ]
    assert isinstance(silent[-1], TextEnded)
    for one in opened:
        await one.aclose()
    await at_rest(requests.engine)


async def test_given_a_request_closed_at_any_event_then_both_engines_and_the_slot_are_free(
    requests: Requests,
) -> None:
    text = TextSampling(max_tokens=100, temperature=0)
    for events in (0, 1, 2, 5, 9, 30):
        running = requests.engine.generate(
            requests.request(CONVERSATIONS[2], text, SpeechSampling("ethan", temperature=0, max_frames=200))
        )
        for _ in range(events):
            await anext(running)
        await running.aclose()
        await at_rest(requests.engine)


@pytest.mark.parametrize(
    ("speech", "text", "param"),
    [
        (SpeechSampling("unknown"), TextSampling(), "audio.voice"),
        (SpeechSampling("ethan"), TextSampling(choices=2), "n"),
    ],
)
async def test_given_what_cannot_be_spoken_then_it_is_refused_by_name(
    requests: Requests, speech: SpeechSampling, text: TextSampling, param: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await anext(requests.engine.generate(requests.request(CONVERSATIONS[0], text, speech)))
    assert refused.value.param == param


async def test_given_a_prompt_that_is_too_long_then_the_refusal_says_how_long_it_may_be(
    requests: Requests,
) -> None:
    long = OmniRequest("long", tuple([20] * 5_000), text=TextSampling(max_tokens=4))
    with pytest.raises(InvalidRequest, match="4096"):
        await anext(requests.engine.generate(long))


def finished(text: str) -> str:
    """Without the start of a character that the last token began."""
    return text.rstrip("\ufffd")


async def at_rest(engine: VllmOmniEngine) -> None:
    """Within a second nothing runs, and every slot is free."""
    for _ in range(100):
        status = engine.status()
        if not (status.thinker_running or status.talker_running or status.slots_used):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"still busy: {status}")
