"""Short, distinct streams through a running Talker, each with its own voice, text, media and seed.

A stream must give the same result alone and while sharing a small pool of slots with others, some of which
abort. Any difference would be another stream's state.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from antiphon_executor.interface.request import SpeechSampling
from antiphon_executor.ipc.messages import HiddenStates
from antiphon_executor.models.special_tokens import PromptIds
from tests.parity.talker.rig import Spoken, TalkerRig

# Number of canaries; `make canaries` sets it. `ALONE`: how many of them run alone, too.
COUNT = int(os.environ.get("ANTIPHON_ENGINE_CANARIES", "0"))
ALONE = 40
LEAVING = 0.05
FIRST_WORD, LAST_WORD = 20, 240
# A sample of s16 is 1 / 32767. Company changes how the vocoder rounds, and no more.
PCM_TOLERANCE = 2


@dataclass(frozen=True)
class Canary:
    """`leaves`: its client goes after the first frame."""

    number: int
    prompt: HiddenStates
    text: tuple[int, ...]
    sampling: SpeechSampling
    leaves: bool


def canaries(ids: PromptIds, hidden: int, voices: Sequence[str], count: int) -> list[Canary]:
    return [_canary(number, ids, hidden, voices) for number in range(count)]


def _canary(number: int, ids: PromptIds, hidden: int, voices: Sequence[str]) -> Canary:
    rng = np.random.default_rng(number)
    media, words = int(rng.integers(0, 80)), rng.integers(FIRST_WORD, LAST_WORD, int(rng.integers(1, 6)))
    turn = [ids.im_start, ids.user, *[ids.audio] * media, *words, ids.im_start, ids.assistant, FIRST_WORD]
    tokens = np.array(turn, np.int32)
    positions = np.tile(np.arange(len(tokens), dtype=np.int32), (3, 1))
    index = np.flatnonzero(tokens == ids.audio).astype(np.int32)
    rows = rng.standard_normal((media, hidden), dtype=np.float32)
    prompt = HiddenStates(
        "rig", tokens.tobytes(), positions.tobytes(), index.tobytes(), rows.tobytes(), hidden, "float32"
    )
    sampling = SpeechSampling(
        voices[number % len(voices)],
        temperature=float(rng.choice([0.0, 0.9])),
        seed=number,
        max_frames=int(rng.integers(4, 9)),
    )
    text = rng.integers(FIRST_WORD, LAST_WORD, int(rng.integers(1, 9))).tolist()
    return Canary(number, prompt, tuple(text), sampling, bool(rng.random() < LEAVING))


async def sing(rig: TalkerRig, canary: Canary) -> Spoken:
    return await rig.speak(canary.prompt, canary.text, canary.sampling, pieces=(1 + canary.number % 3, 2))


async def all_sing(rig: TalkerRig, flock: Sequence[Canary], seed: int) -> dict[int, Spoken]:
    """In an order of its own, as many at once as there are slots. -> by number, of those that stay."""
    order = list(flock)
    random.Random(seed).shuffle(order)
    waiting, heard = iter(order), dict[int, Spoken]()

    async def singer() -> None:
        for canary in waiting:
            if canary.leaves:
                await _leave(rig, canary)
            else:
                heard[canary.number] = await sing(rig, canary)

    async with asyncio.TaskGroup() as group:
        for _ in range(rig.slots.total):
            group.create_task(singer())
    return heard


async def _leave(rig: TalkerRig, canary: Canary) -> None:
    singing = asyncio.create_task(sing(rig, canary))
    await asyncio.wait({singing}, timeout=0.02 * (canary.number % 4))
    singing.cancel()
    await asyncio.gather(singing, return_exceptions=True)


def assert_same(heard: dict[int, Spoken], expected: dict[int, Spoken]) -> None:
    wrong = [number for number, own in expected.items() if number in heard and not _same(heard[number], own)]
    common = len(heard.keys() & expected.keys())
    assert common
    assert not wrong, f"{len(wrong)} of {common} streams are not themselves in company: {wrong[:10]}"


def assert_no_two_alike(heard: dict[int, Spoken]) -> None:
    """Else one could pass for another. A voice may also end before its first frame."""
    said = [spoken.codes.tobytes() for spoken in heard.values() if len(spoken.codes)]
    assert len(said) > 0.7 * len(heard), f"{len(heard) - len(said)} of {len(heard)} streams said nothing"
    assert len(set(said)) > 0.95 * len(said), f"{len(said) - len(set(said))} of {len(said)} are alike"


def _same(one: Spoken, other: Spoken) -> bool:
    if one.ended != other.ended or not np.array_equal(one.codes, other.codes):
        return False
    gap = np.abs(one.pcm.astype(np.int32) - other.pcm.astype(np.int32))
    return len(one.pcm) == len(other.pcm) and bool((gap <= PCM_TOLERANCE).all())
