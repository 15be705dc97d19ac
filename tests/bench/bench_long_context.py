"""Times long prompts on the real server with a full context, and watches its memory.

For a first and a second question it prints the tokens, the cached tokens, the seconds to an answer of one
token, and the peak memory of server and engines above idle. `--plot` draws it over time. It checks nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.memory_plot import memory_svg
from tests.e2e.answers import ask, said
from tests.e2e.process_memory import MemoryWatch
from tests.e2e.server_process import MODEL, RunningServer, start_server, terminate
from tests.server.media.media_samples import base64_of, ffmpeg

from antiphon_executor.shipped import ANTIPHON_NANO
from antiphon_executor.tiny import write_tiny_checkpoint

CONTEXT = 262_144
VOICE = Path(__file__).parents[2] / "server/antiphon_server/cli/samples/question.wav"
FLAGS = (
    "--served-model-name", MODEL, "--dtype", "auto", "--max-model-len", str(CONTEXT), "--max-num-seqs", "4",
    "--streams", "1", "--media-audio-seconds", "36060", "--media-request-audio-seconds", "36060",
    "--media-decode-s", "600", "--media-part-bytes", str(1 << 28), "--media-request-bytes", str(1 << 28),
    "--media-request-decoded-bytes", str(4 << 30),
)  # fmt: skip
MIB = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-long_context", description=__doc__)
    parser.add_argument("--text-tokens", type=int, nargs="*", default=[8_192, 65_536])
    parser.add_argument("--sound-minutes", type=int, dest="audio_minutes", nargs="*", default=[20])
    parser.add_argument("--model", choices=("nano", "tiny"), default="nano")
    parser.add_argument("--plot", type=Path, help="An SVG file.")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        checkpoint = ANTIPHON_NANO
        if given.model == "tiny":
            checkpoint = Path(folder) / "tiny"
            write_tiny_checkpoint(checkpoint, "qwen3_5_omni")
        server = start_server(checkpoint, Path(folder) / "log", *FLAGS)
        watches: list[tuple[str, MemoryWatch]] = []
        try:
            for tokens in given.text_tokens:
                # " the" is one token of both checkpoints.
                text = said("the" + " the" * (tokens - 1))
                watches += _time(server, f"{tokens:>7} tokens of text", [text, text])
            for minutes in given.audio_minutes:
                watches += _time(server, f"{minutes:>7} minutes of audio", _audio_questions(minutes))
        finally:
            terminate(server)
        if given.plot:
            given.plot.write_text(memory_svg(watches))
    return 0


def _time(
    server: RunningServer, name: str, questions: Sequence[list[dict[str, Any]]]
) -> list[tuple[str, MemoryWatch]]:
    client, watches = server.client(), []
    for turn, messages in zip(("first", "second"), questions, strict=True):
        began = time.monotonic()
        with MemoryWatch(server) as memory:
            answer = ask(client, messages, max_tokens=1, timeout=3_600)
        took = time.monotonic() - began
        read = answer.usage
        cached = read.prompt_tokens_details.cached_tokens
        print(
            f"{name}, {turn} question: {read.prompt_tokens:,} tokens, {cached:,} of them cached; answered "
            f"after {took:.1f} s; server and decoders +{memory.server_growth / MIB:,.0f} MiB, engines "
            f"+{memory.engine_growth / MIB:,.0f} MiB; {'decoded' if memory.decoded else 'not decoded'}",
            flush=True,
        )
        watches.append((f"{name.strip()}, {turn} question", memory))
    return watches


def _audio_questions(minutes: int) -> list[list[dict[str, Any]]]:
    """Speech in a loop, as Opus."""
    spoken = ("-stream_loop", "-1", "-i", str(VOICE), "-t", str(minutes * 60))
    audio = base64_of(ffmpeg(*spoken, "-ac", "1", "-b:a", "16k", suffix="ogg"))
    part = {"type": "audio_url", "audio_url": {"url": f"data:audio/ogg;base64,{audio}"}}
    return [
        [{"role": "user", "content": [part, {"type": "text", "text": text}]}]
        for text in ("What is it?", "Who is it?")
    ]


if __name__ == "__main__":
    raise SystemExit(main())
