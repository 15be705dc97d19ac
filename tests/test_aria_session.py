"""An ARIA answer is one session: every frame is counted, no text is lost, and nothing follows its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.interface.errors import EngineBusy, InvalidRequest
from antiphon_executor.interface.events import SpeechEnded
from antiphon_executor.interface.request import SpeechSampling
from antiphon_executor.ipc.messages import HiddenStates, SpeechFrames
from antiphon_executor.models.aria.session_inputs import ChunkSize
from antiphon_executor.models.aria.vocabulary import AriaVocabulary
from antiphon_executor.models.qwen3_5_omni.talker_prompt import PromptLayout, VoicePrompt
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.reference.speech import family_sampling
from antiphon_executor.turn.aria_session import PREDICTOR_TEMPERATURE, PREDICTOR_TOP_P, AriaTalker
from antiphon_executor.turn.slots import SlotTracker
from antiphon_executor.turn.speech_stream import SpeechEvent, SpeechStream, text_prompt
from tests.session_engine import SessionEngine

IM_START, USER, ASSISTANT, IMAGE = 1, 2, 3, 4
IDS = PromptIds(IM_START, USER, ASSISTANT, 6, IMAGE, 7, tts_pad=8, tts_bos=9, tts_eos=10)
PROMPT = (IM_START, USER, 20, IMAGE, IMAGE, IM_START, ASSISTANT, 21)
VOICE = VoicePrompt((IM_START, 30), np.arange(6).reshape(3, 2), (31,))
VOCABULARY = AriaVocabulary(codec=16, text=100, slots=3, embedding_rows=64)
BOS, EOS = 14, 15
TTS_EOS = VOCABULARY.text_base + IDS.tts_eos
OPENED = 2 + 3 + 1 + len(PROMPT) + 2  # the voice, its frames, its closing, the prompt, tts_bos and codec_bos


class Frames:
    """The bridge's part that a stream needs."""

    def __init__(self) -> None:
        self.arrived: Callable[[SpeechFrames], None] | None = None
        self.closed: list[int] = []

    def open_stream(self, arrived: Callable[[SpeechFrames], None]) -> int:
        self.arrived = arrived
        return 7

    def close_stream(self, number: int) -> None:
        self.closed.append(number)

    def deliver(self, frame: SpeechFrames) -> None:
        assert self.arrived is not None
        self.arrived(frame)


@dataclass
class Rig:
    engine: SessionEngine
    stream: SpeechStream
    slots: SlotTracker
    prompt: HiddenStates

    async def hear(self) -> list[SpeechEvent]:
        async with asyncio.timeout(60):
            return [event async for event in self.stream.events()]

    async def speak(self, *pieces: Sequence[int]) -> list[SpeechEvent]:
        """Feeds piece after piece, the last of them final, while it listens."""
        self.stream.set_prompt(self.prompt)
        hearing = asyncio.create_task(self.hear())
        for number, piece in enumerate(pieces, start=1):
            self.stream.add_text(piece, final=number == len(pieces))
            for _ in range(number % 3):
                await asyncio.sleep(0)
        return await hearing


def make_rig(
    *,
    max_frames: int = 100,
    context: int = 1_000,
    pages: int = 4,
    embedding_rows: int = 64,
    prompt_alone: bool = False,
    known_text: bool = False,
) -> Rig:
    frames = Frames()
    engine = SessionEngine(EOS, TTS_EOS, frames.deliver)
    slots = SlotTracker(2, pages)
    vocabulary, controls = replace(VOCABULARY, embedding_rows=embedding_rows), frozenset(IDS.controls)
    talker = AriaTalker(
        engine.run_session, slots, vocabulary, IDS, controls, {"ada": VOICE}, ChunkSize(4, 4),
        layout=PromptLayout(BOS), codec_eos=EOS, max_media_rows=12, max_frames=100, max_tokens=context,
        prompt_alone=prompt_alone,
    )  # fmt: skip
    talker = talker.for_known_text() if known_text else talker
    sampling = SpeechSampling("ada", seed=5, max_frames=max_frames)
    stream = SpeechStream("request", sampling, talker, frames, slot=2)  # type: ignore[arg-type]
    index = np.array([3, 4], np.int32).tobytes()
    ids = np.array(PROMPT, np.int32).tobytes()
    return Rig(engine, stream, slots, HiddenStates("request", ids, b"", index, b"rows", 1, "bfloat16"))


async def test_given_six_words_then_two_inputs_carry_them_and_the_first_opens_the_stream() -> None:
    rig = make_rig()
    await rig.speak([40, 41, 42], [43, 44], [45])
    (session,) = rig.engine.sessions
    first, second = session.inputs
    assert len(first[0]) == OPENED + 4
    assert first[0][-4:] == [VOCABULARY.text_base + token for token in (40, 41, 42, 43)]
    assert second[0] == [
        VOCABULARY.last_frame, VOCABULARY.text_base + 44, VOCABULARY.text_base + 45, TTS_EOS
    ]  # fmt: skip
    assert (first[1], second[1]) == (4, 96)
    start = session.start
    assert (start.stream, start.slot, start.prompt_tokens) == (7, 2, OPENED)
    assert np.frombuffer(start.voice_codes, np.int16).tolist() == VOICE.codes.ravel().tolist()
    assert (start.hidden_states, start.hidden_states_dtype) == (b"rows", "bfloat16")


@given(
    st.lists(st.lists(st.integers(40, 60), max_size=5), min_size=1, max_size=6),
    st.integers(1, 20),
    st.integers(0, 20),
)
def test_given_any_answer_then_its_frames_come_in_order_and_are_counted_before_the_end(
    pieces: list[list[int]], max_frames: int, speech: int
) -> None:
    words = sum(map(len, pieces))
    full_chunks = words // 4
    spoken = max(speech, full_chunks * 4) if words else 0
    expected = min(spoken, max_frames)

    async def run() -> None:
        rig = make_rig(max_frames=max_frames)
        rig.engine.speech = speech
        *deltas, end = await rig.speak(*pieces)
        assert [delta.pcm for delta in deltas] == [bytes([index, 0]) for index in range(expected)]
        assert end == SpeechEnded("stop" if spoken < max_frames else "length", expected)
        entered = [min((index // 4 + 1) * 4, words) for index in range(expected)]
        assert [delta.text_tokens for delta in deltas] == entered

    asyncio.run(run())


async def test_given_control_tokens_in_the_text_then_deltas_say_how_far_of_the_whole_text_they_are() -> None:
    rig = make_rig()
    rig.engine.speech = 8
    *deltas, _ = await rig.speak([IM_START, 40, 41, IM_START, 42, 43, 44], [45])
    assert [delta.text_tokens for delta in deltas] == [6] * 4 + [8] * 4


async def test_given_an_answer_without_text_then_it_never_reaches_the_engine() -> None:
    rig = make_rig()
    assert await rig.speak([]) == [SpeechEnded("stop", 0)]
    assert rig.engine.sessions == []


async def test_given_an_answer_that_turns_out_to_have_no_text_then_only_its_prompt_is_computed() -> None:
    rig = make_rig()
    assert await rig.speak([], [IDS.tts_eos], []) == [SpeechEnded("stop", 0)]
    (session,) = rig.engine.sessions
    assert [(len(ids), tokens) for ids, tokens in session.inputs] == [(OPENED, 1)]
    assert session.frames == 0


async def test_the_prompt_is_computed_while_the_text_of_the_first_chunk_is_generated() -> None:
    rig = make_rig()
    rig.stream.set_prompt(rig.prompt)
    hearing = asyncio.create_task(rig.hear())
    rig.stream.add_text([40, 41, 42], final=False)
    await asyncio.wait_for(rig.engine.opened.wait(), 60)
    (session,) = rig.engine.sessions
    assert [(len(ids), tokens) for ids, tokens in session.inputs] == [(OPENED, 1)]
    assert session.start.unheard_tokens == 1
    rig.stream.add_text([43], final=False)
    rig.stream.add_text([], final=True)
    assert (await hearing)[-1] == SpeechEnded("stop", 6)
    text = [VOCABULARY.text_base + token for token in (40, 41, 42, 43)]
    assert [ids for ids, _ in session.inputs[1:]] == [text, [VOCABULARY.last_frame, TTS_EOS]]
    assert session.prompt[OPENED : OPENED + 4] == text


async def test_a_prompt_that_is_always_alone_gives_the_same_inputs_whenever_its_text_comes() -> None:
    """Of `--engine.deterministic`: the shapes of a step must not depend on the load."""
    early, late = make_rig(prompt_alone=True), make_rig(prompt_alone=True)
    await early.speak([40, 41, 42, 43, 44, 45])
    await late.speak([], [40, 41, 42], [43], [44, 45])
    (first,), (second,) = early.engine.sessions, late.engine.sessions
    assert first.inputs == second.inputs
    assert (len(first.inputs[0][0]), first.inputs[0][1]) == (OPENED, 1)


async def test_text_that_is_read_aloud_reaches_the_engine_as_a_chats_does() -> None:
    """A chat's text comes after the prompt. With the same inputs both say the same, to the sample."""
    reading, chat = make_rig(known_text=True), make_rig()
    await reading.speak([40, 41, 42, 43, 44, 45])
    await chat.speak([], [40, 41, 42], [43], [44, 45])
    assert reading.engine.sessions[0].inputs == chat.engine.sessions[0].inputs
    assert reading.engine.sessions[0].start == chat.engine.sessions[0].start


async def test_with_the_first_chunk_known_its_prompt_and_text_are_one_input() -> None:
    rig = make_rig()
    await rig.speak([40, 41, 42, 43, 44])
    first, _ = rig.engine.sessions[0].inputs
    assert len(first[0]) == OPENED + 4
    assert rig.engine.sessions[0].start.unheard_tokens == 0


async def test_given_late_text_then_frames_wait_only_for_their_own_chunk() -> None:
    rig = make_rig()
    rig.stream.set_prompt(rig.prompt)
    heard: list[SpeechEvent] = []
    four = asyncio.Event()

    async def listen() -> None:
        async for event in rig.stream.events():
            heard.append(event)
            if len(heard) == 4:
                four.set()

    listening = asyncio.create_task(listen())
    rig.stream.add_text([40, 41, 42, 43, 44], final=False)
    await asyncio.wait_for(four.wait(), 60)
    await asyncio.sleep(0.02)
    assert len(heard) == 4
    rig.stream.add_text([], final=True)
    await asyncio.wait_for(listening, 60)
    assert heard[-1] == SpeechEnded("stop", 6)


async def test_given_text_ahead_of_the_frames_then_its_inputs_are_sent_at_once() -> None:
    rig = make_rig()
    rig.engine.steps.clear()
    speaking = asyncio.create_task(rig.speak(range(40, 60)))
    await asyncio.sleep(0.02)
    (reading,) = rig.engine.reading
    assert reading.done(), "all inputs have been taken before the first frame"
    rig.engine.steps.set()
    assert (await speaking)[-1] == SpeechEnded("stop", 20)


@pytest.mark.parametrize("events", range(7))
@pytest.mark.parametrize("final", [False, True])
async def test_given_a_stream_closed_anywhere_then_it_is_aborted_and_nothing_follows(
    events: int, final: bool
) -> None:
    """An input or an end after the abort would open a session without an owner."""
    rig = make_rig()
    rig.engine.while_aborting = lambda: rig.stream.add_text(range(44, 60), final=final)
    rig.stream.set_prompt(rig.prompt)
    rig.stream.add_text([40, 41, 42, 43], final=False)
    running = rig.stream.events()
    for _ in range(min(events, 4)):
        await anext(running)
    reader = asyncio.ensure_future(anext(running))
    for _ in range(3):
        await asyncio.sleep(0)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    await running.aclose()
    assert rig.engine.after_abort == []
    assert rig.engine.aborted == ["request-speech"]
    await asyncio.gather(*rig.engine.reading, return_exceptions=True)
    with rig.slots.lease_pages(4):
        pass


async def test_given_a_stream_closed_while_its_last_input_is_on_its_way_then_no_end_follows() -> None:
    rig = make_rig()
    rig.engine.sent.clear()
    rig.engine.while_aborting = rig.engine.sent.set
    rig.stream.set_prompt(rig.prompt)
    rig.stream.add_text([40], final=True)
    running = rig.stream.events()
    await anext(running)
    await running.aclose()
    assert rig.engine.after_abort == []
    assert rig.engine.aborted == ["request-speech"]


async def test_given_no_room_for_the_voice_and_the_media_then_the_stream_is_rejected() -> None:
    rig = make_rig(pages=0)
    with pytest.raises(EngineBusy):
        await rig.speak([40])


async def test_given_a_conversation_too_long_for_the_talker_then_the_request_is_rejected() -> None:
    rig = make_rig(context=OPENED + 4)
    with pytest.raises(InvalidRequest, match=f"{OPENED} tokens"):
        await rig.speak([40])


async def test_given_hidden_states_of_other_tokens_then_they_are_rejected() -> None:
    rig = make_rig()
    rig.prompt = text_prompt(list(PROMPT))
    with pytest.raises(RuntimeError, match="hidden states received"):
        await rig.speak([40])


async def test_given_more_media_than_the_operator_allows_then_the_request_is_rejected() -> None:
    rig = make_rig(embedding_rows=4)
    with pytest.raises(InvalidRequest, match="2 media tokens; a spoken answer allows 1"):
        await rig.speak([40])


async def test_the_predictor_draws_as_the_family_does() -> None:
    rig = make_rig()
    await rig.speak([40])
    assert rig.engine.sessions[0].start.sampling == family_sampling(5)
    assert (PREDICTOR_TEMPERATURE, PREDICTOR_TOP_P) == (0.9, 1.0)
