"""Times an answer of several minutes in the ARIA Talker, minute by minute: nothing may be prefilled twice.

It prints the milliseconds per frame in each minute and the ratio of the last minute to the first. Text
arrives until the end. It checks nothing.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tests.parity.talker.aria_oracle import AriaOracle, heard_prompt
from tests.parity.talker.rig import TalkerRig, aria_rig

from antiphon_executor.interface.events import FRAMES_PER_SECOND
from antiphon_executor.interface.request import SpeechSampling
from antiphon_executor.interface.settings import TalkerSettings
from antiphon_executor.tiny import write_tiny_checkpoint

FRAMES_PER_MINUTE = int(60 * FRAMES_PER_SECOND)
PROMPT = 64
WARM_UP_FRAMES = 40


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-long_answer", description=__doc__)
    parser.add_argument("--minutes", type=int, default=5)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "tiny"
        write_tiny_checkpoint(checkpoint, "qwen3_5_omni")
        asyncio.run(_run(checkpoint, given.minutes))
    return 0


async def _run(checkpoint: Path, minutes: int) -> None:
    oracle = AriaOracle(checkpoint)
    frames = minutes * FRAMES_PER_MINUTE
    settings = TalkerSettings(
        dtype="bfloat16", streams=1, max_frames=frames, max_model_len=2 * frames + 4 * PROMPT
    )
    async with aria_rig(checkpoint, settings, oracle.voices) as rig:
        await _speak(rig, oracle, WARM_UP_FRAMES)
        arrived = await _speak(rig, oracle, frames)
    a_frame_ms = np.diff(arrived).reshape(-1) * 1000
    minute = np.arange(len(a_frame_ms)) // FRAMES_PER_MINUTE
    means = [float(np.mean(a_frame_ms[minute == number])) for number in range(minutes)]
    for number, mean in enumerate(means, start=1):
        print(f"minute {number}: {mean:.1f} ms per frame of 80 ms")
    print(f"the last minute takes {means[-1] / means[0]:.2f} times the first")


async def _speak(rig: TalkerRig, oracle: AriaOracle, frames: int) -> list[float]:
    """The arrival time of each frame in seconds, for as many text tokens as frames."""
    rng = np.random.default_rng(1)
    words = rng.integers(20, oracle.model.config.talker_config.text_config.vocab_size // 2, frames).tolist()
    sampling = SpeechSampling("spoken", seed=1, max_frames=frames)
    spoken = await rig.speak(heard_prompt(oracle, 0, PROMPT, seed=1), words, sampling)
    return spoken.arrived_s


if __name__ == "__main__":
    raise SystemExit(main())
