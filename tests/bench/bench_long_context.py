"""Times long prompts on the real server with the tiny Qwen3.5-Omni checkpoint and its full context.

It prints the tokens, the cached tokens and the seconds to an answer of one token, with a cold and a warm
cache. `--text-tokens` may be up to 250000. It checks nothing.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.e2e.answers import ask, said
from tests.e2e.server_process import RunningServer, start_server, terminate
from tests.server.media.media_samples import base64_of, ffmpeg

from antiphon_executor.tiny import write_tiny_checkpoint

CONTEXT = 262_144
FLAGS = (
    "--dtype", "auto", "--max-model-len", str(CONTEXT), "--max-num-seqs", "2", "--streams", "1",
    "--media-audio-seconds", "36000", "--media-request-audio-seconds", "36000", "--media-decode-s", "300",
    "--media-request-decoded-bytes", str(4 << 30),
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench-long_context", description=__doc__)
    parser.add_argument("--text-tokens", type=int, nargs="*", default=[8_192, 65_536])
    parser.add_argument("--sound-minutes", type=int, dest="audio_minutes", nargs="*", default=[20])
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "tiny"
        write_tiny_checkpoint(checkpoint, "qwen3_5_omni")
        server = start_server(checkpoint, Path(folder) / "log", *FLAGS)
        try:
            for tokens in given.text_tokens:
                # " the" is one token of the tiny checkpoint.
                _time(server, f"{tokens:>7} tokens of text", said("the" + " the" * (tokens - 1)))
            for minutes in given.audio_minutes:
                _time(server, f"{minutes:>7} minutes of audio", [_audio_message(minutes)])
        finally:
            terminate(server)
    return 0


def _time(server: RunningServer, name: str, messages: list[dict[str, Any]]) -> None:
    client = server.client()
    for turn in ("cold", "warm"):
        began = time.monotonic()
        answer = ask(client, messages, max_tokens=1, timeout=3_600)
        took = time.monotonic() - began
        read = answer.usage
        cached = read.prompt_tokens_details.cached_tokens
        print(
            f"{name}, {turn}: {read.prompt_tokens:,} tokens, {cached:,} of them cached; answered after "
            f"{took:.1f} s",
            flush=True,
        )


def _audio_message(minutes: int) -> dict[str, Any]:
    hum = f"sine=frequency=220:sample_rate=16000:duration={minutes * 60}"
    audio = base64_of(ffmpeg("-f", "lavfi", "-i", hum, "-ac", "1", "-b:a", "16k", suffix="ogg"))
    part = {"type": "audio_url", "audio_url": {"url": f"data:audio/ogg;base64,{audio}"}}
    return {"role": "user", "content": [part, {"type": "text", "text": "What is it?"}]}


if __name__ == "__main__":
    raise SystemExit(main())
