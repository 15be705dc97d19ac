"""R21 through both engines: hundreds of spoken answers over 8 slots, each as if it were alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from transformers import PreTrainedTokenizerBase

from antiphon_executor.engine import VllmOmniEngine
from antiphon_executor.protocol import SpeechDelta, SpeechSampling, TextDelta, TextSampling, TurnRequest
from tests.parity.talker.canaries import COUNT
from tests.parity.talker.oracle import asked

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(COUNT < 300, reason="minutes long: make canaries"),
]

AT_ONCE = 8
VOICES = ("ethan", "chelsie", "aiden")
WORDS = ("red", "house", "water", "bird", "night", "street", "music", "light", "old", "seven")

Heard = tuple[str, bytes]


async def answer(engine: VllmOmniEngine, tokenizer: PreTrainedTokenizerBase, number: int, name: str) -> Heard:
    dice = random.Random(number)
    question = " ".join(dice.choices(WORDS, k=6))
    ids = tuple(tokenizer.encode(asked(f"{number}: {question}?").prompt))
    speech = SpeechSampling(VOICES[number % 3], seed=number, max_frames=dice.randint(4, 10))
    text = TextSampling(max_tokens=dice.randint(4, 12), temperature=0.9, seed=number)
    said, pcm = "", b""
    async for event in engine.generate(TurnRequest(f"{name}-{number}", ids, text=text, speech=speech)):
        match event:
            case TextDelta():
                said += event.text
            case SpeechDelta():
                pcm += event.pcm
    return said, pcm


async def in_company(
    engine: VllmOmniEngine, tokenizer: PreTrainedTokenizerBase, numbers: Sequence[int]
) -> dict[int, Heard]:
    waiting, heard = iter(numbers), dict[int, Heard]()

    async def caller() -> None:
        for number in waiting:
            heard[number] = await answer(engine, tokenizer, number, "company")

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(caller())
    return heard


async def test_given_hundreds_of_answers_then_none_has_the_text_or_the_sound_of_another(
    engine: VllmOmniEngine, tokenizer: PreTrainedTokenizerBase
) -> None:
    alone = {number: await answer(engine, tokenizer, number, "alone") for number in range(COUNT)}
    assert len({pcm for _, pcm in alone.values() if pcm}) > 0.95 * COUNT
    order = list(range(COUNT))
    random.Random(1).shuffle(order)
    heard = await in_company(engine, tokenizer, order)
    assert [number for number in order if heard[number][0] != alone[number][0]] == []
    lengths = {number: (len(heard[number][1]), len(alone[number][1])) for number in order}
    assert {number: pair for number, pair in lengths.items() if pair[0] != pair[1]} == {}
    assert [number for number in order if not alike(heard[number][1], alone[number][1])] == []
    assert engine.status().slots_used == 0


def alike(one: bytes, other: bytes) -> bool:
    """Company changes how the vocoder rounds, and no more."""
    pairs = zip(memoryview(one).cast("h"), memoryview(other).cast("h"), strict=True)
    return all(abs(a - b) <= 2 for a, b in pairs)
