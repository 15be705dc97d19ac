"""Times the streaming vocoder and transformers' decoder on this machine, alternately in one run.

It prints the milliseconds per frame, with random weights. It checks nothing: tests/talker/test_vocoder.py
does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import torch

from antiphon_executor.models.torchvision_ops import define_missing_operators

define_missing_operators()

from tests.talker.vocoder_oracle import SIZES, random_code2wav  # noqa: E402

from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav  # noqa: E402

STREAMS, LONG_FRAMES = 8, 40
STEPS = ((1, 1), (4, 1), (8, 1), (1, 4), (1, 10))


@dataclass(slots=True)
class Variant:
    """One way to decode `frames` frames (of all streams together), and its times in ms per frame."""

    name: str
    frames: int
    decode: Callable[[], object]
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def run(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.decode()
        self.wall.append((time.perf_counter() - wall) * 1e3 / self.frames)
        self.cpu.append((time.process_time() - cpu) * 1e3 / self.frames)

    def __str__(self) -> str:
        figures = (median(self.wall), min(self.wall), median(self.cpu), min(self.cpu))
        return f"{self.name:48}" + "".join(f"{figure:9.2f}" for figure in figures) + f"{len(self.wall):7d}"


def variants(size: str) -> list[Variant]:
    oracle = random_code2wav(SIZES[size], seed=0)
    vocoder = StreamingCode2Wav(oracle.config, slots=STREAMS + 1)
    vocoder.load_state_dict(oracle.state_dict())
    shape = (STREAMS, LONG_FRAMES, oracle.config.num_quantizers)
    codes = torch.randint(0, oracle.config.codebook_size, shape)
    slots = torch.arange(1, STREAMS + 1)
    one = codes[:1].transpose(1, 2)

    def streaming(batch: int, frames: int) -> Variant:
        name = f"streaming: {batch} stream(s), {frames} frame(s) a step"
        return Variant(name, batch * frames, lambda: vocoder(codes[:batch, :frames], slots[:batch]))

    return [
        *(streaming(batch, frames) for batch, frames in STEPS),
        Variant(f"transformers: one shot of {LONG_FRAMES} frames", LONG_FRAMES, lambda: oracle(one)),
        Variant(
            "transformers: chunked_decode, 4 frames, 25 before",
            LONG_FRAMES,
            lambda: oracle.chunked_decode(one, chunk_size=4, left_context_size=25),
        ),
    ]


def measure(table: list[Variant], seconds: float, calls: int = 3) -> None:
    """Calls the variants in turn, so that other load affects all of them; the first round is not counted."""
    end = time.monotonic() + seconds
    for variant in table:
        variant.decode()
    while time.monotonic() < end or len(table[-1].wall) < calls:
        for variant in table:
            variant.run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", nargs="+", choices=sorted(SIZES), default=["tiny", "nano"])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        for size in arguments.size:
            table = variants(size)
            measure(table, arguments.seconds)
            print(
                f"\n{size}, {arguments.threads} thread(s), torch {torch.__version__}: ms per frame of 80 ms"
            )
            print(f"{'':48}{'wall':>9}{'(best)':>9}{'cpu':>9}{'(best)':>9}{'calls':>7}")
            print(*table, sep="\n", flush=True)


if __name__ == "__main__":
    main()
