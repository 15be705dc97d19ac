"""A prompt is read ahead over the windows of a clip that are ready, and again if the clip becomes louder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from vllm import RequestOutput, SamplingParams
from vllm.inputs import TokensPrompt

from antiphon_executor.engine.clip_read_ahead import ClipReadAhead
from antiphon_executor.engine.window_read_ahead import LEAST_WINDOWS, MOST_WINDOWS, PromptReader
from antiphon_executor.interface.media import Media, StoredClip
from antiphon_executor.interface.media_geometry import MediaGeometry
from antiphon_executor.interface.request import OmniRequest, TokensAhead
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.thinker.inputs import engine_prompt
from antiphon_executor.models.thinker.mel_writer import MelWriter
from tests.simulated_time import on_simulated_time

IDS = PromptIds(*range(1, 10))
PROMPT = (20, 21, IDS.audio, 22)


@dataclass
class FakeEngine:
    """Keeps prompts. A request lasts until `ended` is set, and finds `cached` tokens."""

    prompts: list[TokensPrompt] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    aborted: int = 0
    cached: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def generate(
        self, prompt: TokensPrompt, params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput]:
        assert params.max_tokens == 1
        self.prompts.append(prompt)
        self.names.append(request_id)
        try:
            await self.ended.wait()
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted += 1
            raise
        output: Any = SimpleNamespace(num_cached_tokens=self.cached)
        yield output

    def windows(self) -> list[int]:
        return [len(prompt["multi_modal_data"]["audio"]) for prompt in self.prompts]


def work_in_one_thread() -> None:
    """What is given to threads is done in order."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))


def reader(engine: FakeEngine) -> ClipReadAhead:
    work_in_one_thread()
    writer, request = MelWriter(16, torch.bfloat16), OmniRequest("one", PROMPT)
    return ClipReadAhead(request, "key", writer, PromptReader(engine.generate, IDS, MediaGeometry()))


def noise(windows: float, level: float = 0.1) -> np.ndarray:
    """The same loudest frame in each piece of 30 s."""
    piece = np.random.default_rng(3).standard_normal(30 * 16_000, dtype=np.float32)
    return np.tile(level * piece, round(4 * windows))


async def write(ahead: ClipReadAhead, windows: float, level: float = 0.1) -> None:
    """A second more than the windows, without which the last is not complete."""
    ahead.writer.write(noise(windows, level))
    await settle()


async def settle() -> None:
    """Returns when all has been done that waits for no event."""
    for _ in range(20):
        await asyncio.to_thread(int)
        await asyncio.sleep(0)


@on_simulated_time
async def test_the_windows_so_far_are_read_and_then_those_that_came_meanwhile() -> None:
    engine = FakeEngine()
    ahead = reader(engine)
    await write(ahead, LEAST_WINDOWS - 1)
    assert not engine.prompts
    await write(ahead, 1.25)
    assert engine.windows() == [LEAST_WINDOWS]
    await write(ahead, LEAST_WINDOWS)
    assert engine.windows() == [LEAST_WINDOWS]
    engine.ended.set()
    await settle()
    assert engine.windows() == [LEAST_WINDOWS, 2 * LEAST_WINDOWS]
    assert engine.names == ["one-ahead-1", "one-ahead-2"]
    await ahead.stop()


@on_simulated_time
async def test_what_is_read_ahead_begins_the_prompt_of_the_request_itself() -> None:
    """With the same keys of the same features."""
    engine = FakeEngine()
    engine.ended.set()
    ahead = reader(engine)
    await write(ahead, LEAST_WINDOWS + 0.25)
    clip = ahead.writer.finish("key")
    await ahead.stop()
    assert isinstance(clip, StoredClip)
    whole = engine_prompt(OmniRequest("one", PROMPT, Media(audios=(clip,))), IDS, MediaGeometry())
    [part] = engine.prompts
    ids, keys = part["prompt_token_ids"], part["multi_modal_uuids"]["audio"]  # type: ignore[index]
    assert whole["prompt_token_ids"][: len(ids)] == ids
    assert whole["multi_modal_uuids"]["audio"][: len(keys)] == keys  # type: ignore[index]
    for one, other in zip(
        part["multi_modal_data"]["audio"], whole["multi_modal_data"]["audio"], strict=False
    ):
        assert torch.equal(one.mel(16), other.mel(16))


@on_simulated_time
async def test_a_louder_moment_aborts_what_is_read_and_all_is_read_again_under_other_keys() -> None:
    engine = FakeEngine()
    ahead = reader(engine)
    await write(ahead, LEAST_WINDOWS + 0.25)
    await write(ahead, 1, level=0.9)
    assert engine.aborted == 1
    assert engine.windows() == [LEAST_WINDOWS, LEAST_WINDOWS + 1]
    quiet, loud = (set(prompt["multi_modal_uuids"]["audio"]) for prompt in engine.prompts)  # type: ignore[arg-type]
    assert not quiet & loud
    clip = ahead.writer.finish("key")
    assert isinstance(clip, StoredClip)
    assert all(key.startswith(f"audio-{clip.key}-") for key in loud)
    await ahead.stop()
    assert engine.aborted == 2


@on_simulated_time
async def test_a_request_sends_at_most_so_many_windows() -> None:
    engine = FakeEngine()
    ahead = reader(engine)
    for _ in range(MOST_WINDOWS + 2):
        ahead.writer.write(noise(1))
    await settle()
    assert engine.windows() == [MOST_WINDOWS]
    await ahead.stop()


@pytest.mark.parametrize("ends_louder", [False, True])
@on_simulated_time
async def test_the_rest_is_read_in_parts_when_the_clip_is_complete(ends_louder: bool) -> None:
    """All but the last windows, once more if the end is louder."""
    engine = FakeEngine()
    ahead = reader(engine)
    windows = MOST_WINDOWS + 2 * LEAST_WINDOWS
    for _ in range(windows):
        ahead.writer.write(noise(1))
    ahead.writer.write(noise(0.25, level=0.9 if ends_louder else 0.1))
    await settle()
    clip = ahead.writer.finish("key")
    rest = asyncio.create_task(ahead.read_rest())
    await settle()
    assert not rest.done()
    engine.ended.set()
    await asyncio.wait_for(rest, 60)
    assert engine.windows()[-2:] == [MOST_WINDOWS, windows]
    assert engine.aborted == ends_louder
    assert isinstance(clip, StoredClip)
    assert all(clip.key in key for key in engine.prompts[-1]["multi_modal_uuids"]["audio"])  # type: ignore[operator]
    assert ahead.tokens_read > 7 * 120 * windows
    await ahead.stop()


@on_simulated_time
async def test_the_rest_of_an_engine_that_fails_is_left_to_the_request() -> None:
    work_in_one_thread()
    failing = PromptReader(_fails, IDS, MediaGeometry())
    ahead = ClipReadAhead(OmniRequest("one", PROMPT), "key", MelWriter(16, torch.bfloat16), failing)
    await write(ahead, LEAST_WINDOWS + 0.25)
    await asyncio.wait_for(ahead.read_rest(), 60)
    await ahead.stop()


async def _fails(*call: object) -> AsyncGenerator[RequestOutput]:
    raise RuntimeError("the engine has died")
    yield


@pytest.mark.parametrize(
    ("cached", "now", "expected"), [(0, 3_000, 0), (2_000, 3_000, 2_000), (0, 90_000, 90_000)]
)
@on_simulated_time
async def test_tokens_that_were_read_ahead_do_not_count_as_cached(
    cached: int, now: int, expected: int
) -> None:
    engine = FakeEngine(cached=cached)
    engine.ended.set()
    ahead = reader(engine)
    await write(ahead, LEAST_WINDOWS + 0.25)
    read = await ahead.stop()
    assert read.read > 3_300
    assert read.cached(now) == expected


@on_simulated_time
async def test_tokens_of_a_request_that_was_cut_off_do_not_count_as_cached_either() -> None:
    ahead = reader(FakeEngine())
    await write(ahead, LEAST_WINDOWS + 0.25)
    assert (await ahead.stop()).cached(3_000) == 0


@on_simulated_time
async def test_an_error_of_the_engine_ends_the_reading_alone() -> None:
    work_in_one_thread()
    failing = PromptReader(_fails, IDS, MediaGeometry())
    ahead = ClipReadAhead(OmniRequest("one", PROMPT), "key", MelWriter(16, torch.bfloat16), failing)
    await write(ahead, LEAST_WINDOWS + 0.25)
    assert isinstance(ahead.writer.finish("key"), StoredClip)
    assert await ahead.stop() == TokensAhead(ahead._ahead.read, 0)
