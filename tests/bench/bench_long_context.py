"""Hours of speech in one request to the real server, and a second question about them.

Writes tokens, times, CPU seconds and peak memory above idle by process, first tokens of short requests beside
it, and how soon all is free after an abort. `--speaking`: underruns of spoken answers beside it instead.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openai
from tests.bench.long_context.aborts import Abort, abort_at_random
from tests.bench.long_context.cache_watch import CacheWatch, in_thread
from tests.bench.long_context.recording import inline, question, recording, uploaded
from tests.bench.long_context.speakers import Speakers
from tests.bench.long_context.timeline import Timeline
from tests.e2e.answers import said
from tests.e2e.process_usage import ROLES, UsageWatch
from tests.e2e.server_process import MODEL, RunningServer, serving, start_server, terminate

from antiphon_executor.shipped import ANTIPHON_NANO
from antiphon_executor.tiny import write_tiny_checkpoint

CONTEXT = 262_144
FLAGS = (
    "--served-model-name", MODEL, "--dtype", "auto", "--max-model-len", str(CONTEXT), "--max-num-seqs", "4",
    "--media-long", "--no-engine.speech",
)  # fmt: skip
# Two more requests than those that speak: the long one, and one that reads it ahead.
SPEAKING_FLAGS = (
    "--served-model-name", MODEL, "--dtype", "auto", "--max-model-len", str(CONTEXT), "--media-long",
)  # fmt: skip
MIB = 1 << 20
# Recordings that are cut off are at most so long: each is decoded and read from its beginning.
ABORTED_S = 1_200
LONGEST_ANSWER_S = 6 * 3_600
# Until the streams speak, before the long request comes.
SPEAKING_FIRST_S = 10.0


@dataclass(frozen=True)
class Answered:
    """One question. `progress`: seconds and tokens that were read by then, as the client reads them."""

    prompt_tokens: int
    media_tokens: int
    cached_tokens: int
    first_token_s: float
    progress: tuple[tuple[float, int], ...]


@dataclass
class ShortRequests:
    """Asks for one token of a short text every few seconds, from its entry to its exit."""

    client: openai.OpenAI
    every_s: float
    times: list[tuple[float, float]] = field(default_factory=list)
    refused: int = 0
    _done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> ShortRequests:
        self._began_s = time.monotonic()
        self._thread = in_thread(self._ask)
        return self

    def __exit__(self, *ended: object) -> None:
        self._done.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._done.wait(self.every_s):
            at_s = time.monotonic()
            try:
                ask(self.client, said(f"Say {at_s:.3f}."), timeout=600)
            except openai.APIStatusError:
                self.refused += 1
            else:
                self.times.append((at_s - self._began_s, time.monotonic() - at_s))


def main() -> int:
    given = _arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        checkpoint = ANTIPHON_NANO
        if given.model == "tiny":
            checkpoint = Path(folder) / "tiny"
            write_tiny_checkpoint(checkpoint, "qwen3_5_omni")
        seconds = round(given.hours * 3_600)
        audio = recording(seconds)
        print(f"{seconds:,} s of speech: {len(audio) / MIB:.1f} MiB of Opus", flush=True)
        if given.speaking:
            return _measure_speaking(checkpoint, seconds, given)
        server = start_server(checkpoint, given.out / "server.log", *FLAGS)
        try:
            report = _measure(server, audio, seconds, given)
        finally:
            terminate(server)
    name = given.out / f"audio_{seconds}s"
    name.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"written: {name}.json, {name}.svg")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-long_context", description=__doc__)
    parser.add_argument("--hours", type=float, default=1 / 3, help="Length of the recording.")
    parser.add_argument("--upload", action="store_true", help="Upload it first, and not in the request.")
    parser.add_argument("--aborts", type=int, default=5, help="Requests that are cut off at random moments.")
    parser.add_argument("--short-every-s", type=float, default=5.0, help="Between short requests beside it.")
    parser.add_argument(
        "--speaking",
        type=int,
        nargs="*",
        metavar="N",
        help="Streams of spoken answers beside it, a run each.",
    )
    parser.add_argument("--alone-s", type=float, default=30.0, help="Of the streams without the recording.")
    parser.add_argument("--model", choices=("nano", "tiny"), default="nano")
    parser.add_argument("--out", type=Path, default=Path("build/long_context"), help="A folder.")
    return parser.parse_args()


def _measure(server: RunningServer, audio: bytes, seconds: int, given: argparse.Namespace) -> dict[str, Any]:
    client = server.client()
    ask(client, said("Warm up."))
    report: dict[str, Any] = {"audio_s": seconds, "uploaded": given.upload}
    part = uploaded(client, audio) if given.upload else inline(audio)
    with CacheWatch(server) as usage, ShortRequests(client, given.short_every_s) as short:
        first = ask(client, question(part, "What is it?"), progress=True)
    _print_first(first, usage, short, report)
    drawn = Timeline(
        f"{seconds / 3600:.2g} h of speech, {first.prompt_tokens:,} tokens, first token after "
        f"{first.first_token_s:.0f} s",
        usage.samples, first.prompt_tokens, first.progress, short.times, first.first_token_s,
    )  # fmt: skip
    (given.out / f"audio_{seconds}s.svg").write_text(drawn.svg())
    for name in ("second", "third"):
        with CacheWatch(server) as again:
            answered = ask(client, question(part, "Who is it?"))
        decoded = again.decoded
        print(
            f"{name} question: {answered.cached_tokens:,} of {answered.prompt_tokens:,} tokens cached; "
            f"first token after {answered.first_token_s:.1f} s; decoded again: {'yes' if decoded else 'no'}; "
            f"server and decoders +{again.growth('server', 'decoders') / MIB:,.0f} MiB",
            flush=True,
        )
        report[name] = asdict(answered) | {"decoded": decoded}
    if given.aborts:
        short_s = min(seconds, ABORTED_S)
        within_s = first.first_token_s * short_s / seconds
        messages = partial(_unknown, short_s)
        aborts = abort_at_random(server, messages, given.aborts, within_s)
        _print_aborts(aborts)
        report["aborts"] = [asdict(one) for one in aborts]
    return report


def _measure_speaking(checkpoint: Path, seconds: int, given: argparse.Namespace) -> int:
    """A run for each number of streams. The server is started as a user starts it."""
    most = max(given.speaking)
    flags = (*SPEAKING_FLAGS, "--streams", str(most), "--max-num-seqs", str(most + 2))
    server = serving(checkpoint, given.out / "server.log", *flags)
    server.environment = dict(os.environ)
    server.start()
    report: list[dict[str, Any]] = []
    try:
        client = server.client()
        for streams in given.speaking:
            with Speakers(server, streams) as alone:
                time.sleep(given.alone_s)
            part = uploaded(client, recording(seconds, f"beside {streams}"))
            with Speakers(server, streams) as beside, CacheWatch(server) as usage:
                time.sleep(SPEAKING_FIRST_S)
                first = ask(client, question(part, "What is it?"))
            report += [{"alone": _listened(alone), "beside": _listened(beside), "first": asdict(first)}]
            growth = "; ".join(f"{role} +{usage.growth(role) / MIB:,.0f} MiB" for role in ROLES)
            print(f"  the long request's first token after {first.first_token_s:.1f} s; {growth}", flush=True)
    finally:
        terminate(server)
    name = given.out / f"speaking_{seconds}s.json"
    name.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written: {name}")
    return 0


def _listened(speakers: Speakers) -> dict[str, Any]:
    if speakers.heard is None:
        raise ValueError("the answers have not ended")
    heard = speakers.heard
    print(
        f"{heard.streams} streams: {heard.answers} answers, {heard.audio_s:.0f} s of speech; "
        f"{heard.underruns} underruns, {heard.silent_s:.2f} s silent; {heard.failed} refused or failed; "
        f"first audio after {heard.first_audio_s or 0:.2f} s (median)",
        flush=True,
    )
    return asdict(heard)


def _unknown(seconds: int, index: int) -> list[dict[str, Any]]:
    return question(inline(recording(seconds, f"cut off {index}")), "What is it?")


def ask(
    client: openai.OpenAI,
    messages: list[dict[str, Any]],
    *,
    progress: bool = False,
    timeout: float = LONGEST_ANSWER_S,
) -> Answered:
    """One token, streamed. `progress`: ask for chunks that say how far the prompt has been read."""
    options = {"include_usage": True} | ({"include_progress": True} if progress else {})
    began_s, first_s, usage = time.monotonic(), 0.0, None
    read: list[tuple[float, int]] = []
    chunks: Any = client.chat.completions.create(
        model=MODEL, messages=messages, temperature=0, max_tokens=1, stream=True, stream_options=options,
        timeout=timeout,
    )  # type: ignore[call-overload]  # fmt: skip
    for chunk in chunks:
        usage = chunk.usage or usage
        now_s = time.monotonic() - began_s
        if (found := (chunk.model_extra or {}).get("progress")) is not None:
            read.append((now_s, found["prefilled_tokens"]))
        if not first_s and any(choice.delta.content or choice.finish_reason for choice in chunk.choices):
            first_s = now_s
    if usage is None:
        raise ValueError("the answer has no usage")
    details = usage.prompt_tokens_details
    return Answered(usage.prompt_tokens, details.audio_tokens, details.cached_tokens, first_s, tuple(read))


def _print_first(first: Answered, usage: UsageWatch, short: ShortRequests, report: dict[str, Any]) -> None:
    growth = {role: usage.growth(role) for role in ROLES}
    cpu_s = {role: usage.cpu_s(role) for role in ROLES}
    together = usage.growth("server", "decoders")
    print(
        f"first question: {first.prompt_tokens:,} tokens, {first.media_tokens:,} of them audio; first token "
        f"after {first.first_token_s:.1f} s; decoded after {usage.decoded_until_s or 0:.1f} s\n"
        f"  server and decoders together +{together / MIB:,.0f} MiB; "
        + "; ".join(f"{role} +{growth[role] / MIB:,.0f} MiB, {cpu_s[role]:.1f} CPU s" for role in ROLES),
        flush=True,
    )
    print_short(short)
    report["first"] = asdict(first) | {
        "decoded_until_s": usage.decoded_until_s,
        "growth_bytes": growth | {"server and decoders": together},
        "cpu_s": cpu_s,
        "short_s": [seconds for _, seconds in short.times],
        "short_refused": short.refused,
    }


def print_short(short: ShortRequests) -> None:
    took = [seconds for _, seconds in short.times]
    if took:
        print(
            f"  {len(took)} short requests beside it: first token after {statistics.median(took):.2f} s "
            f"(median), {max(took):.2f} s at most; {short.refused} refused",
            flush=True,
        )


def _print_aborts(aborts: Sequence[Abort]) -> None:
    for one in aborts:
        print(
            f"cut off after {one.after_s:.1f} s ({one.decoders} decoders, {one.running:.0f} requests run): "
            f"all free after {one.free_s:.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    raise SystemExit(main())
