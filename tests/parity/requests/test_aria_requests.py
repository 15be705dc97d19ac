"""A whole Qwen3.5-Omni answer: its speech is the reference's for the Thinker's text."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from antiphon_executor.interface.errors import InvalidRequest
from antiphon_executor.interface.events import SpeechDelta, SpeechEnded, TextEnded
from antiphon_executor.interface.request import SpeechSampling, TextSampling
from tests.parity.requests.aria_requests import AriaRequests, Heard
from tests.parity.requests.test_requests import LONG_TEXT, at_rest, finished
from tests.parity.sound import assert_same_wave
from tests.parity.talker.aria_oracle import AriaOracle
from tests.parity.thinker.conversations import (
    AUDIO,
    IMAGE,
    VIDEO,
    Conversation,
    one_turn,
    picture,
    sound,
    video,
)

pytestmark = pytest.mark.engine

FRAMES = 40
ADA = SpeechSampling("ada", temperature=0, max_frames=FRAMES)
CONVERSATIONS = (
    one_turn("text", "Tell me about the red house."),
    one_turn("audio", f"{AUDIO}What is said?", audios=(sound(1, 2.0),)),
    one_turn("image", f"{IMAGE}What is it?", images=(picture(1, 96, 128),)),
    one_turn("video with sound", f"{VIDEO}Who speaks?", videos=(video(3, 4, 2.0, heard=2.0),)),
    one_turn(
        "more than the Talker's cap", f"{AUDIO}{IMAGE}{AUDIO}",
        audios=(sound(4, 3.0), sound(5, 2.0)), images=(picture(2, 160, 160),),
    ),
)  # fmt: skip


def assert_as_the_reference(heard: Heard, oracle: AriaOracle) -> None:
    given = heard.given
    truth = oracle.speak(given.exact, given.text, given.sampling)
    # Cut speech may end before the text does.
    (end,) = (event for event in heard.events if isinstance(event, SpeechEnded))
    assert end == SpeechEnded("stop" if truth.ended else "length", len(truth.codes))
    assert_same_wave(heard.wave, truth.wave)


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda one: one.name)
async def test_given_any_media_then_the_answer_is_spoken_as_by_the_reference(
    aria_requests: AriaRequests, aria_oracle: AriaOracle, conversation: Conversation
) -> None:
    heard = await aria_requests.hear(conversation, ADA)
    assert finished(aria_requests.decode(heard.given.text)) == finished(heard.text)
    assert_as_the_reference(heard, aria_oracle)
    assert heard.counted.total == aria_requests.reckoned(conversation)


async def test_given_the_text_of_an_answer_then_reading_it_aloud_is_the_answers_own_speech(
    aria_requests: AriaRequests, aria_oracle: AriaOracle
) -> None:
    answered = await aria_requests.hear(CONVERSATIONS[0], ADA)
    read = await aria_requests.read_aloud(CONVERSATIONS[0], (tuple(answered.given.text),), ADA)
    assert read.given.text == answered.given.text
    assert (read.wave == answered.wave).all()
    assert_as_the_reference(read, aria_oracle)


async def test_given_the_cap_then_no_more_media_rows_travel(
    aria_requests: AriaRequests, aria_oracle: AriaOracle
) -> None:
    heard = await aria_requests.hear(CONVERSATIONS[-1], ADA)
    counted = heard.counted
    assert counted.audio + counted.image > aria_oracle.most_media
    assert len(heard.given.exact.row_index) == 4 * aria_oracle.most_media


async def test_given_a_request_then_speech_begins_with_its_fourth_word_and_reports_the_text_it_has_consumed(
    aria_requests: AriaRequests,
) -> None:
    text = TextSampling(max_tokens=LONG_TEXT, temperature=0)
    heard = await aria_requests.hear(CONVERSATIONS[0], ADA, text)
    kinds = [type(event) for event in heard.events]
    assert kinds.index(SpeechDelta) < kinds.index(TextEnded)
    taken = [event.text_tokens for event in heard.events if isinstance(event, SpeechDelta)]
    words = len(heard.given.text)
    assert taken == [min((frame // 4 + 1) * 4, words) for frame in range(len(taken))]


async def test_given_all_at_once_and_sampled_then_each_is_spoken_as_if_alone(
    aria_requests: AriaRequests, aria_oracle: AriaOracle
) -> None:
    voices = [replace(ADA, voice=voice, temperature=0.9, seed=3, max_frames=16) for voice in ("ada", "ben")]
    heard = await asyncio.gather(
        *(aria_requests.hear(one, voice) for one in CONVERSATIONS[:3] for voice in voices)
    )
    for one in heard:
        assert_as_the_reference(one, aria_oracle)


async def test_given_a_request_closed_at_any_event_then_both_engines_and_the_slot_are_free(
    aria_requests: AriaRequests, aria_oracle: AriaOracle
) -> None:
    text = TextSampling(max_tokens=100, temperature=0)
    for events in (0, 1, 2, 4, 5, 6, 9, 30, 60):
        request = aria_requests.request(CONVERSATIONS[1], text, replace(ADA, max_frames=200))
        running = aria_requests.engine.generate(request)
        for _ in range(events):
            await anext(running)
        await running.aclose()
        await at_rest(aria_requests.engine)
    assert_as_the_reference(await aria_requests.hear(CONVERSATIONS[1], ADA), aria_oracle)


async def test_given_an_answer_stopped_at_its_first_words_then_nothing_is_spoken(
    aria_requests: AriaRequests,
) -> None:
    first = (await aria_requests.hear(CONVERSATIONS[0], ADA)).text[:1]
    heard = await aria_requests.hear(
        CONVERSATIONS[0], ADA, TextSampling(max_tokens=18, temperature=0, stop=(first,))
    )
    assert heard.text == ""
    assert heard.events[-1] == SpeechEnded("stop", 0)


async def test_given_a_voice_that_is_not_there_then_the_refusal_lists_those_that_are(
    aria_requests: AriaRequests,
) -> None:
    request = aria_requests.request(CONVERSATIONS[0], TextSampling(), replace(ADA, voice="ethan"))
    with pytest.raises(InvalidRequest, match="ada, ben"):
        await anext(aria_requests.engine.generate(request))
