"""A request ends exactly once and releases everything, in any order of arrivals."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from antiphon_executor.interface import event_stream
from antiphon_executor.interface.errors import EngineBusy, EngineError, InvalidRequest, RequestFailed
from antiphon_executor.interface.event_stream import EventStream
from antiphon_executor.interface.events import (
    OmniEvent,
    PromptCounted,
    SpeechDelta,
    SpeechEnded,
    TextDelta,
    TextEnded,
)
from antiphon_executor.interface.media import AudioClip, Media
from antiphon_executor.interface.request import AnswerSchema, OmniRequest, SpeechSampling, TextSampling
from antiphon_executor.interface.settings import GuardSettings
from antiphon_executor.ipc.bridge import Bridge, SocketFolder
from antiphon_executor.ipc.messages import HiddenStates
from antiphon_executor.turn.request_run import RequestRun
from antiphon_executor.turn.speech_stream import SpeechStream
from tests.scripted_engines import END, FRAMES, FULL_STOP, IDS, PICTURE, PROMPT, Engines, written


@pytest_asyncio.fixture
async def engines() -> AsyncIterator[Engines]:
    folder = SocketFolder()
    async with Bridge(folder) as bridge:
        scripted = Engines(folder, bridge)
        yield scripted
        scripted.close()
    folder.close()


def make_request(media: Media | None = None) -> OmniRequest:
    return OmniRequest("t", PROMPT, media or Media(), TextSampling(), SpeechSampling("ethan"))


async def heard(run: RequestRun) -> list[OmniEvent]:
    async with asyncio.timeout(60):
        return [event async for event in EventStream(run.run)]


async def test_given_text_and_speech_then_each_ends_once_and_the_slot_is_free(engines: Engines) -> None:
    media_free = OmniRequest("t", PROMPT[4:], Media(), TextSampling(), SpeechSampling("ethan"))
    events = await heard(RequestRun(engines.context, media_free))
    assert isinstance(events[0], PromptCounted)
    assert "".join(one.text for one in events if isinstance(one, TextDelta)) == "<30><31><5>"
    assert [one.pcm for one in events if isinstance(one, SpeechDelta)] == [b"\0\0", b"\1\0", b"\2\0"]
    assert sum(isinstance(one, TextEnded) for one in events) == 1
    assert [one for one in events if isinstance(one, SpeechEnded)] == [SpeechEnded("length", FRAMES)]
    assert engines.slots.used == 0


@pytest.mark.parametrize(("opening", "taken_in"), [((), [1, 2, 2]), ((22,), [0, 1, 2])])
async def test_given_text_and_speech_then_frames_report_how_much_text_they_have_consumed(
    engines: Engines, opening: tuple[int, ...], taken_in: list[int]
) -> None:
    """What the prompt opens the answer with is spoken first, and stands in no transcript."""
    engines.opening = opening
    request = OmniRequest("t", (*PROMPT[4:], *opening), speech=SpeechSampling("ethan"))
    events = await heard(RequestRun(engines.context, request))
    assert [one.text_tokens for one in events if isinstance(one, SpeechDelta)] == taken_in
    assert [one.spoken_ends for one in events if isinstance(one, TextDelta)] == [(4,), (8,), ()]


async def test_without_media_the_talker_has_its_prompt_before_the_thinker_has_read_it(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: list[list[int]] = []
    before: list[int] = []

    def set_prompt(stream: SpeechStream, prompt: HiddenStates) -> None:
        prompts.append(np.frombuffer(prompt.prompt_token_ids, np.int32).tolist())
        original(stream, prompt)

    async def think(prompt: Any, params: Any, request_id: str) -> AsyncIterator[Any]:
        before.append(len(prompts))
        async for output in engines.think(prompt, params, request_id):
            yield output

    original = SpeechStream.set_prompt
    monkeypatch.setattr(SpeechStream, "set_prompt", set_prompt)
    context = replace(engines.context, generate_text=think)
    request = OmniRequest("t", PROMPT[4:], speech=SpeechSampling("ethan"))
    events = await heard(RequestRun(context, request))
    assert isinstance(events[-1], SpeechEnded | TextEnded)
    assert (before, prompts) == ([1], [list(PROMPT[4:])])


async def test_given_hidden_states_after_the_last_token_then_the_answer_is_still_spoken(
    engines: Engines,
) -> None:
    """A short answer once overtook its rows, and hung."""

    async def rows_at_last() -> None:
        asyncio.get_running_loop().call_later(0.05, lambda: asyncio.ensure_future(engines.send_rows("t")))

    engines.after_text = rows_at_last
    events = await heard(RequestRun(engines.context, make_request(PICTURE)))
    assert isinstance(events[-1], SpeechEnded)
    (start,) = engines.started
    assert start.text_ids == [30, 31, IDS.tts_eos]
    assert start.text_final
    assert np.frombuffer(start.hidden_states, np.float32).tolist() == [1] * 4


@pytest.mark.parametrize(
    ("finish", "stop_reason", "guard", "read"),
    [
        ("length", None, GuardSettings(), [30, 31, FULL_STOP]),
        ("repetition", None, GuardSettings(), [30, 31, FULL_STOP]),
        ("stop", "a stop string", GuardSettings(), [30, 31, FULL_STOP]),
        ("stop", None, GuardSettings(), [30, 31]),
        ("length", None, GuardSettings(cut_text="leave"), [30, 31]),
        ("length", None, None, [30, 31]),
    ],
)
async def test_the_talker_gets_a_full_stop_after_a_text_that_the_thinker_did_not_end(
    engines: Engines, finish: str, stop_reason: str | None, guard: GuardSettings | None, read: list[int]
) -> None:
    async def rows_at_last() -> None:
        asyncio.get_running_loop().call_later(0.05, lambda: asyncio.ensure_future(engines.send_rows("t")))

    engines.after_text, engines.finish, engines.stop_reason = rows_at_last, finish, stop_reason
    stages = replace(engines.context, decode=written, encode=lambda text: [FULL_STOP], guard=guard)
    events = await heard(RequestRun(stages, make_request(PICTURE)))
    (start,) = engines.started
    assert start.text_ids == [*read, IDS.tts_eos]
    assert "".join(one.text for one in events if isinstance(one, TextDelta)) == "<30><31><5>"
    assert [one.spoken_ends for one in events if isinstance(one, TextDelta)] == [(4,), (8,), ()]


@pytest.mark.parametrize(
    ("tokens", "stop_reason", "read"),
    [
        ((30, 31, 32), 32, [30, 31, FULL_STOP]),
        ((30, 31, END), END, [30, 31]),
        ((30, END, 31, 32), None, [30, 31, 32]),
    ],
    ids=["the client's token", "the model's, as the client's", "an end token that is ignored"],
)
async def test_the_talker_reads_neither_the_token_that_stops_a_text_nor_an_ignored_end(
    engines: Engines, tokens: tuple[int, ...], stop_reason: int | None, read: list[int]
) -> None:
    """The end token is no text, so the Talker reads what follows it as the next word."""

    async def rows_at_last() -> None:
        asyncio.get_running_loop().call_later(0.05, lambda: asyncio.ensure_future(engines.send_rows("t")))

    engines.after_text, engines.tokens, engines.stop_reason = rows_at_last, tokens, stop_reason
    stages = replace(engines.context, decode=written, encode=lambda text: [FULL_STOP], guard=GuardSettings())
    events = await heard(RequestRun(stages, make_request(PICTURE)))
    (start,) = engines.started
    assert start.text_ids == [*read, IDS.tts_eos]
    assert sum(isinstance(one, SpeechEnded) for one in events) == 1


async def test_json_that_the_clients_own_token_stops_may_be_incomplete(engines: Engines) -> None:
    engines.tokens, engines.stop_reason = (30, 31), 31
    text = TextSampling(schema=AnswerSchema("{}", "tools"), stop_token_ids=(31,))
    events = await heard(RequestRun(engines.context, OmniRequest("t", PROMPT[4:], text=text)))
    assert events[-1] == TextEnded(0, "stop")


@pytest.mark.parametrize("fault", [ValueError("lost"), asyncio.CancelledError()])
async def test_given_a_stage_that_fails_then_the_request_fails_at_once(
    engines: Engines, fault: BaseException
) -> None:
    """Rows never come: without the Thinker's fault, the stream would wait for them."""
    engines.fault = fault
    with pytest.raises((ValueError, RuntimeError), match=r"lost|cancelled"):
        await heard(RequestRun(engines.context, make_request(PICTURE)))
    assert engines.slots.used == 0


async def test_given_a_talker_that_ends_without_an_output_then_the_request_fails(engines: Engines) -> None:
    engines.talker_ends = False
    with pytest.raises(RequestFailed, match="the Talker did not report the end of its speech"):
        await heard(RequestRun(engines.context, replace(make_request(), prompt_token_ids=PROMPT[4:])))
    assert engines.slots.used == 0


async def test_given_a_request_failed_from_outside_then_it_ends_with_that_error(
    engines: Engines,
) -> None:
    run = RequestRun(engines.context, make_request(PICTURE))
    asyncio.get_running_loop().call_later(0.1, run.fail, RuntimeError("the talker has died"))
    with pytest.raises(RuntimeError, match="has died"):
        await heard(run)
    assert engines.slots.used == 0


@pytest.mark.parametrize("fault", [ValueError("lost"), asyncio.CancelledError()])
async def test_given_a_thinker_that_fails_then_a_request_for_text_fails_at_once(
    engines: Engines, fault: BaseException
) -> None:
    engines.fault = fault
    with pytest.raises((ValueError, RuntimeError), match=r"lost|cancelled"):
        await heard(RequestRun(engines.context, OmniRequest("t", PROMPT[4:])))


async def test_given_a_request_for_text_failed_from_outside_then_it_ends_with_that_error(
    engines: Engines,
) -> None:
    closed = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()

    engines.after_text = hang
    run = RequestRun(engines.context, OmniRequest("t", PROMPT[4:]))
    asyncio.get_running_loop().call_later(0.1, run.fail, RuntimeError("the thinker has died"))
    with pytest.raises(RuntimeError, match="has died"):
        await heard(run)
    assert closed.is_set()


async def test_given_a_reader_that_stops_and_leaves_then_the_talker_is_aborted_before_its_slot_is_free(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Talker's part waits for room in the queue then, and not for a frame."""
    text_events, frames = 4, FRAMES - 1
    monkeypatch.setattr(event_stream, "MAX_QUEUED_EVENTS", text_events + frames)
    has_sent, forever = asyncio.Event(), asyncio.Event()

    async def go_on() -> None:
        has_sent.set()
        await forever.wait()

    engines.after_frames = go_on
    run = RequestRun(engines.context, replace(make_request(), prompt_token_ids=PROMPT[4:]))
    async with asyncio.timeout(60), EventStream(run.run) as events:
        assert isinstance(await events.next(), PromptCounted)
        await has_sent.wait()
        await asyncio.sleep(0.05)
    assert engines.slots_at_end == [1]
    assert engines.slots.used == 0


async def test_given_no_free_slot_then_the_thinker_does_not_start(engines: Engines) -> None:
    with engines.slots.lease_slot(), pytest.raises(EngineBusy):
        await heard(RequestRun(engines.context, make_request()))


@pytest.mark.promise("R48")
@pytest.mark.parametrize("finish", ["error", "abort", "no-such-word"])
@pytest.mark.parametrize("tokens", [(0,), (30, 0), (30, 31)])
@pytest.mark.parametrize("speech", [None, SpeechSampling("ethan")])
async def test_given_an_answer_that_the_engine_ends_with_an_error_then_it_never_looks_complete(
    engines: Engines, finish: str, tokens: tuple[int, ...], speech: SpeechSampling | None
) -> None:
    """A schema that could not be compiled was an empty answer with `stop`."""
    engines.finish, engines.tokens = finish, tokens
    told: list[OmniEvent] = []

    async def listen() -> None:
        run = RequestRun(engines.context, OmniRequest("t", PROMPT[4:], speech=speech))
        async for event in EventStream(run.run):
            told.append(event)

    with pytest.raises(EngineError) as raised:
        await asyncio.wait_for(listen(), 60)
    assert not isinstance(raised.value, InvalidRequest)
    assert not any(isinstance(one, TextEnded) for one in told)
    assert engines.slots.used == 0


@pytest.mark.parametrize(
    ("finish", "said"), [("length", "length"), ("repetition", "length"), ("stop", "stop")]
)
async def test_given_an_answer_that_ends_by_itself_or_at_a_limit_then_it_says_which(
    engines: Engines, finish: str, said: str
) -> None:
    engines.finish = finish
    events = await heard(RequestRun(engines.context, OmniRequest("t", PROMPT[4:])))
    assert events[-1] == TextEnded(0, said)  # type: ignore[arg-type]


@pytest.mark.promise("R48")
@pytest.mark.parametrize(
    ("finish", "stop_reason", "says"),
    [("stop", None, None), ("length", None, "length"), ("stop", "3", "stop")],
)
async def test_given_a_grammar_that_fails_midway_then_the_incomplete_json_is_an_error(
    engines: Engines, finish: str, stop_reason: str | None, says: str | None
) -> None:
    """vLLM reports `stop`, because such a grammar allows only the end."""
    engines.finish, engines.stop_reason = finish, stop_reason
    text = TextSampling(schema=AnswerSchema("{}", "tools"))
    run = RequestRun(engines.context, OmniRequest("t", PROMPT[4:], text=text))
    if says is not None:
        assert (await heard(run))[-1] == TextEnded(0, says)  # type: ignore[arg-type]
        return
    with pytest.raises(InvalidRequest, match="in the middle of the answer") as raised:
        await heard(run)
    assert raised.value.param == "tools"


@pytest.mark.parametrize("param", ["response_format", "tools"])
async def test_given_a_schema_that_vllm_cannot_compile_then_the_error_names_its_field(
    engines: Engines, param: str
) -> None:
    engines.finish, engines.tokens = "error", (0,)
    text = TextSampling(schema=AnswerSchema("{}", param))
    with pytest.raises(InvalidRequest, match="schema cannot be compiled") as raised:
        await heard(RequestRun(engines.context, OmniRequest("t", PROMPT[4:], text=text)))
    assert raised.value.param == param


async def test_given_an_error_after_the_first_token_then_the_schema_is_not_blamed(engines: Engines) -> None:
    engines.finish, engines.tokens = "error", (30, 0)
    with pytest.raises(EngineError) as raised:
        await heard(
            RequestRun(
                engines.context,
                OmniRequest("t", PROMPT[4:], text=TextSampling(schema=AnswerSchema("{}", "tools"))),
            )
        )
    assert not isinstance(raised.value, InvalidRequest)


async def test_decoded_media_are_let_go_once_the_engine_has_their_features(engines: Engines) -> None:
    samples = np.zeros(16_000, dtype=np.float32)
    released = asyncio.Event()
    weakref.finalize(samples, asyncio.get_running_loop().call_soon_threadsafe, released.set)
    request = OmniRequest("t", (IDS.audio, 5), Media(audios=(AudioClip(samples),)), TextSampling())
    del samples

    async def think(prompt: Any, params: Any, request_id: str) -> AsyncIterator[Any]:
        """As `Stage.generate`: the prompt is needed until it is rendered."""
        await asyncio.sleep(0)
        assert not released.is_set()
        del prompt
        # The thread that made the prompt lets go of the request just after it has returned.
        await released.wait()
        choice = SimpleNamespace(
            index=0, token_ids=[END], text="", logprobs=None, finish_reason="stop", stop_reason=None
        )
        yield SimpleNamespace(prompt_token_ids=list(PROMPT), num_cached_tokens=0, outputs=[choice])

    context = replace(engines.context, generate_text=think, talker=None)

    async def produce(asked: OmniRequest, events: EventStream) -> None:
        run = RequestRun(context, asked)
        asked = asked.without_media()
        await run.run(events)

    stream = EventStream(partial(produce, request))
    del request
    async with asyncio.timeout(60):
        assert [event async for event in stream]
