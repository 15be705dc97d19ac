"""Through both engines: hundreds of spoken answers share 8 slots, each equal to a run alone.

Takes minutes: `make canaries`.
"""

from __future__ import annotations

import asyncio
import random

import pytest
from transformers import PreTrainedTokenizerBase

from antiphon_executor.engine.omni_engine import VllmOmniEngine
from antiphon_executor.interface.events import SpeechDelta, TextDelta
from antiphon_executor.interface.request import OmniRequest, SpeechSampling, TextSampling
from tests.parity.talker.canaries import ALONE, COUNT, PCM_TOLERANCE
from tests.parity.talker.oracle import asked

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(3_600),
    pytest.mark.long("ANTIPHON_ENGINE_CANARIES"),
    pytest.mark.promise("R21"),
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
    async for event in engine.generate(OmniRequest(f"{name}-{number}", ids, text=text, speech=speech)):
        match event:
            case TextDelta():
                said += event.text
            case SpeechDelta():
                pcm += event.pcm
    return said, pcm


async def in_company(
    engine: VllmOmniEngine, tokenizer: PreTrainedTokenizerBase, count: int, seed: int
) -> dict[int, Heard]:
    order, heard = list(range(count)), dict[int, Heard]()
    random.Random(seed).shuffle(order)
    waiting = iter(order)

    async def caller() -> None:
        for number in waiting:
            heard[number] = await answer(engine, tokenizer, number, f"company-{seed}")

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(caller())
    return heard


async def test_given_hundreds_of_answers_then_none_has_the_text_or_the_sound_of_another(
    engine: VllmOmniEngine, tokenizer: PreTrainedTokenizerBase
) -> None:
    alone = {number: await answer(engine, tokenizer, number, "alone") for number in range(min(ALONE, COUNT))}
    first = await in_company(engine, tokenizer, COUNT, 1)
    second = await in_company(engine, tokenizer, COUNT, 2)
    sounds = [pcm for _, pcm in first.values() if pcm]
    assert len(sounds) > 0.7 * COUNT
    assert len(set(sounds)) > 0.95 * len(sounds)
    assert strangers(first, alone) == []
    assert strangers(second, first) == []
    assert engine.status().slots_used == 0


def strangers(heard: dict[int, Heard], own: dict[int, Heard]) -> list[int]:
    return [number for number, one in own.items() if not alike(heard[number], one)]


def alike(one: Heard, other: Heard) -> bool:
    """Other streams change only the vocoder's rounding."""
    (text, pcm), (other_text, other_pcm) = one, other
    if text != other_text or len(pcm) != len(other_pcm):
        return False
    pairs = zip(memoryview(pcm).cast("h"), memoryview(other_pcm).cast("h"), strict=True)
    return all(abs(a - b) <= PCM_TOLERANCE for a, b in pairs)
