"""Times long 720p video with sound at a frame a second on the real server, and watches its memory.

The checkpoint is antiphon-nano with a processor that keeps that size. For a first and a second question it
prints the tokens, the cached tokens, the seconds to an answer of one token, the peak memory of each kind of
process above idle, and first tokens of short requests beside it. `--plot` draws the memory over time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.bench_long_context import ShortRequests, print_short
from tests.bench.memory_plot import memory_svg
from tests.e2e.answers import ask
from tests.e2e.process_usage import ROLES, UsageWatch
from tests.e2e.server_process import MODEL, RunningServer, start_server, terminate
from tests.server.media.media_samples import base64_of, ffmpeg

from antiphon_executor.shipped import ANTIPHON_NANO

CONTEXT = 262_144
WIDTH, HEIGHT = 1280, 720
# To which the processor rounds it.
KEPT_PIXELS = WIDTH * 704
FLAGS = (
    "--served-model-name", MODEL, "--dtype", "auto", "--max-model-len", str(CONTEXT), "--max-num-seqs", "4",
    "--streams", "1", "--media-long",
)  # fmt: skip
MIB = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-long_video", description=__doc__)
    parser.add_argument("--seconds", type=int, nargs="*", default=[20, 60], help="400 take about 14 minutes.")
    parser.add_argument("--short-every-s", type=float, default=5.0, help="Between short requests beside it.")
    parser.add_argument("--plot", type=Path, help="An SVG file.")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        checkpoint = keeping_720p(Path(folder) / "nano-720p")
        server = start_server(checkpoint, Path(folder) / "log", *FLAGS)
        watches: list[tuple[str, UsageWatch]] = []
        try:
            for seconds in given.seconds:
                watches += _ask_twice(server, seconds, given.short_every_s)
        finally:
            terminate(server)
        if given.plot:
            given.plot.write_text(memory_svg(watches))
    return 0


def keeping_720p(folder: Path) -> Path:
    """A copy of antiphon-nano whose processor scales no frame of 1280 x 704 pixels down."""
    shutil.copytree(ANTIPHON_NANO, folder)
    config = folder / "processor_config.json"
    processor = json.loads(config.read_text())
    processor["video_processor"]["size"]["longest_edge"] = KEPT_PIXELS
    config.write_text(json.dumps(processor))
    return folder


def film(seconds: int) -> str:
    return base64_of(
        ffmpeg(
            *("-f", "lavfi", "-i", f"testsrc2=size={WIDTH}x{HEIGHT}:rate=1:duration={seconds}"),
            *("-f", "lavfi", "-i", f"sine=frequency=330:sample_rate=16000:duration={seconds}"),
            *("-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"),
            suffix="mp4",
        )
    )


def _ask_twice(server: RunningServer, seconds: int, short_every_s: float) -> list[tuple[str, UsageWatch]]:
    client, watches = server.client(), []
    url = {"url": f"data:video/mp4;base64,{film(seconds)}"}
    part: dict[str, Any] = {"type": "video_url", "video_url": url, "fps": 1}
    for turn, text in (("first", "What is shown?"), ("second", "What is heard?")):
        messages = [{"role": "user", "content": [part, {"type": "text", "text": text}]}]
        began = time.monotonic()
        with UsageWatch(server) as memory, ShortRequests(client, short_every_s) as short:
            answer = ask(client, messages, max_tokens=1, timeout=7_200)
        took = time.monotonic() - began
        read = answer.usage.prompt_tokens_details
        name = f"{seconds} s of 720p, {turn} question"
        print(
            f"{name}: {answer.usage.prompt_tokens:,} tokens, {read.video_tokens:,} of them video and "
            f"{read.audio_tokens:,} audio; {read.cached_tokens:,} cached; answered after {took:.1f} s; "
            f"{'decoded' if memory.decoded else 'not decoded'}\n  server and decoders together "
            f"+{memory.growth('server', 'decoders') / MIB:,.0f} MiB; "
            + "; ".join(f"{role} +{memory.growth(role) / MIB:,.0f} MiB" for role in ROLES),
            flush=True,
        )
        print_short(short)
        watches.append((name, memory))
    return watches


if __name__ == "__main__":
    raise SystemExit(main())
