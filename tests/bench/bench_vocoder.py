"""Times the streaming vocoder against transformers' decoder on this machine, interleaved, in one run.

In: `--size tiny|nano|released` (several allowed), `--seconds` for each. Out: a table of milliseconds a
frame on stdout. Random weights; checks nothing: tests/talker/test_vocoder.py does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from antiphon_executor.torchvision_ops import define_missing_operators

define_missing_operators()

from tests.talker.vocoder_oracle import SIZES, random_code2wav  # noqa: E402

from antiphon_executor.talker.vocoder import StreamingCode2Wav  # noqa: E402

Step = Callable[[], object]
LONG_FRAMES = 100


def variants(size: str) -> dict[str, tuple[int, Step]]:
    """What is timed: frames of all streams together, and a call that decodes them."""
    oracle = random_code2wav(SIZES[size], seed=0)
    streams = 8
    vocoder = StreamingCode2Wav(oracle.config, slots=streams + 1)
    vocoder.load_state_dict(oracle.state_dict())
    codes = torch.randint(
        0, oracle.config.codebook_size, (streams, LONG_FRAMES, oracle.config.num_quantizers)
    )
    slots = torch.arange(1, streams + 1)
    table: dict[str, tuple[int, Step]] = {}
    for batch, frames in ((1, 1), (4, 1), (8, 1), (1, 4), (1, 10)):
        table[f"streaming, {batch} stream(s) x {frames} frame(s)"] = (
            batch * frames,
            lambda b=batch, f=frames: vocoder(codes[:b, :f], slots[:b]),  # type: ignore[misc]
        )
    one = codes[:1].transpose(1, 2)
    table[f"transformers, one shot of {LONG_FRAMES} frames"] = (LONG_FRAMES, lambda: oracle(one))
    chunked = one[..., : LONG_FRAMES // 2]
    table["transformers, chunked_decode(4, 25 of context)"] = (
        LONG_FRAMES // 2,
        lambda: oracle.chunked_decode(chunked, chunk_size=4, left_context_size=25),
    )
    return table


def measure(table: dict[str, tuple[int, Step]], seconds: float) -> dict[str, list[float]]:
    """Milliseconds a frame of each variant, one call of each in turn, so that all see the same machine."""
    timings: dict[str, list[float]] = {name: [] for name in table}
    end = time.monotonic() + seconds
    for _, step in table.values():
        step()
    while time.monotonic() < end or min(map(len, timings.values())) < 3:
        for name, (frames, step) in table.items():
            begin = time.perf_counter()
            step()
            timings[name].append((time.perf_counter() - begin) * 1e3 / frames)
    return timings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", nargs="+", choices=sorted(SIZES), default=["tiny", "nano"])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        for size in arguments.size:
            timings = measure(variants(size), arguments.seconds)
            print(
                f"\n{size}, {arguments.threads} thread(s), {torch.__version__}: ms a frame (a frame is 80 ms)"
            )
            print(f"{'':50} {'median':>8} {'best':>8} {'calls':>6}")
            for name, values in timings.items():
                print(f"{name:50} {statistics.median(values):8.2f} {min(values):8.2f} {len(values):6d}")


if __name__ == "__main__":
    main()
