"""Finds the clear takes of `qwen3_5_conversations.py`: run it when the tiny checkpoint has changed.

`python -m tests.parity.thinker.pick_takes [SCENE...]`, some minutes. Out: each scene's best take.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from antiphon_executor.environment import prepare_environment
from tests.parity.thinker.engine import RunningThinker, running_thinker
from tests.parity.thinker.qwen3_5_checkpoint import write_checkpoint
from tests.parity.thinker.qwen3_5_conversations import SCENES, Scene
from tests.parity.thinker.qwen3_5_judgement import STEPS, Judgement
from tests.parity.thinker.qwen3_5_oracle import Qwen3_5Oracle

TAKES = 160
AT_ONCE = 8


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = write_checkpoint(folder / "checkpoint")
        prepare_environment(folder, on_cpu=True, streams=1)
        oracle = Qwen3_5Oracle(checkpoint)
        async with running_thinker(
            checkpoint, folder, dtype="auto", max_model_len=4_096, kv_cache_memory_bytes=256 << 20
        ) as thinker:
            for scene in (each for each in SCENES if each.name in sys.argv[1:] or not sys.argv[1:]):
                number, judgement = await best_take(scene, thinker, oracle)
                print(f"{scene.name}: take {number}, {judgement}", flush=True)


async def best_take(scene: Scene, thinker: RunningThinker, oracle: Qwen3_5Oracle) -> tuple[int, Judgement]:
    """The take of most clearness; the first whose clearness is ample ends the search."""
    best: tuple[int, Judgement] | None = None
    for first in range(0, TAKES, AT_ONCE):
        numbers = range(first, first + AT_ONCE)
        turns = [thinker.turn(scene.take(number).prompt, scene.media) for number in numbers]
        answers = await asyncio.gather(*(thinker.answer(turn, STEPS) for turn in turns))
        for number, answer in zip(numbers, answers, strict=True):
            judgement = Judgement.of(answer, oracle.follow(scene.take(number), answer.answer))
            if best is None or judgement.clearness > best[1].clearness:
                best = number, judgement
        if best is not None and best[1].is_ample:
            break
    assert best is not None
    return best


if __name__ == "__main__":
    asyncio.run(main())
