"""A text that is read aloud: pieces in order in one slot, and one end whatever happens."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from antiphon_executor.interface.errors import EngineBusy, RequestFailed
from antiphon_executor.interface.event_stream import EventStream
from antiphon_executor.interface.events import OmniEvent, SpeechDelta, SpeechEnded
from antiphon_executor.interface.request import ReadingRequest, SpeechSampling
from antiphon_executor.interface.settings import GuardSettings
from antiphon_executor.turn.reading_run import ReadingRun
from antiphon_executor.turn.request_context import RequestContext
from tests.scripted_engines import FRAMES, FULL_STOP, IDS, PROMPT, Engines, written
from tests.test_request_run import engines  # noqa: F401

PIECES = ((30, 31), (32,))


def reading(
    engines: Engines,  # noqa: F811
    *,
    context: RequestContext | None = None,
    pieces: tuple[tuple[int, ...], ...] = PIECES,
    max_frames: int = 4_096,
) -> ReadingRun:
    speech = SpeechSampling("ethan", max_frames=max_frames)
    talker = engines.context.talker
    assert talker is not None
    prompts = (PROMPT[4:],) * len(pieces)
    return ReadingRun(context or engines.context, talker, ReadingRequest("t", prompts, pieces, speech))


async def heard(run: ReadingRun) -> list[OmniEvent]:
    async with asyncio.timeout(60):
        return [event async for event in EventStream(run.run)]


async def test_pieces_follow_each_other_in_one_slot_and_end_once(engines: Engines) -> None:  # noqa: F811
    engines.talker_finish = "stop"
    events = await heard(reading(engines))
    assert [start.text_ids for start in engines.started] == [[*piece, IDS.tts_eos] for piece in PIECES]
    assert all(start.text_final for start in engines.started)
    assert len({start.slot for start in engines.started}) == 1
    spoken = [one for one in events if isinstance(one, SpeechDelta)]
    assert [one.text_tokens for one in spoken] == [1, 2, 2, 3, 3, 3]
    # The second piece begins where the first has ended, without a step.
    assert [int.from_bytes(one.pcm, "little") for one in spoken] == [0, 1, 2, 2, 1, 2]
    assert events[-1] == SpeechEnded("stop", 2 * FRAMES)
    assert sum(isinstance(one, SpeechEnded) for one in events) == 1
    assert engines.slots.used == 0


async def test_what_the_template_opens_an_answer_with_is_not_read(engines: Engines) -> None:  # noqa: F811
    prompt = (*PROMPT[4:], 22, 23)
    talker = engines.context.talker
    assert talker is not None
    request = ReadingRequest("t", (prompt,), PIECES[:1], SpeechSampling("ethan"))
    await heard(ReadingRun(engines.context, talker, request))
    assert engines.started[0].text_ids == [*PIECES[0], IDS.tts_eos]


async def test_each_piece_answers_its_own_prompt(engines: Engines) -> None:  # noqa: F811
    engines.talker_finish = "stop"
    talker = engines.context.talker
    assert talker is not None
    prompts = ((*PROMPT[:2], 41, *PROMPT[4:]), (*PROMPT[:2], 42, 43, *PROMPT[4:]))
    request = ReadingRequest("t", prompts, PIECES, SpeechSampling("ethan"))
    await heard(ReadingRun(engines.context, talker, request))
    sizes = [len(start.positions) for start in engines.started]
    assert sizes[1] > sizes[0]


async def test_the_limit_of_frames_is_for_all_pieces(engines: Engines) -> None:  # noqa: F811
    engines.talker_finish = "stop"
    events = await heard(reading(engines, max_frames=FRAMES))
    assert len(engines.started) == 1
    assert events[-1] == SpeechEnded("length", FRAMES)


async def test_a_piece_without_a_full_stop_gets_one(engines: Engines) -> None:  # noqa: F811
    context = replace(engines.context, decode=written, encode=lambda text: [FULL_STOP], guard=GuardSettings())
    events = await heard(reading(engines, context=context))
    assert [start.text_ids for start in engines.started] == [
        [*piece, FULL_STOP, IDS.tts_eos] for piece in PIECES
    ]
    assert max(one.text_tokens for one in events if isinstance(one, SpeechDelta)) == 3


async def test_the_thinker_is_not_needed(engines: Engines) -> None:  # noqa: F811
    assert reading(engines).stages == ("talker",)


async def test_a_talker_that_ends_without_an_output_fails_the_request(
    engines: Engines,  # noqa: F811
) -> None:
    engines.talker_ends = False
    with pytest.raises(RequestFailed):
        await heard(reading(engines))
    assert engines.slots.used == 0


async def test_a_request_failed_from_outside_ends_with_that_error(engines: Engines) -> None:  # noqa: F811
    engines.after_frames = asyncio.Event().wait
    run = reading(engines)
    asyncio.get_running_loop().call_later(0.1, run.fail, RuntimeError("the talker has died"))
    with pytest.raises(RuntimeError, match="has died"):
        await heard(run)
    assert engines.slots.used == 0
    assert engines.slots_at_end == [1]


async def test_a_reader_that_leaves_frees_the_slot(engines: Engines) -> None:  # noqa: F811
    engines.after_frames = asyncio.Event().wait
    run = reading(engines)
    async with asyncio.timeout(60), EventStream(run.run) as events:
        assert isinstance(await events.next(), SpeechDelta)
    assert engines.slots.used == 0


async def test_no_free_slot_is_a_refusal(engines: Engines) -> None:  # noqa: F811
    with engines.slots.lease_slot(), pytest.raises(EngineBusy):
        await heard(reading(engines))
