"""The command-line flags of `antiphon bench`, read into `Options`.

An API key is masked in everything that is printed or written.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, get_args

from antiphon_server.bench.options import (
    INPUTS,
    Answer,
    Dialect,
    JudgeOptions,
    Level,
    Options,
    Prices,
    RealtimeOptions,
    TurnDetection,
    Workload,
)
from antiphon_server.bench.target import base_url, key_variable, without_secrets
from antiphon_server.config.parser import FlagParser

_DESCRIPTION = """Measure the latency, speech underruns, throughput and cost of an OpenAI-compatible omni
endpoint. Closed loop with --concurrency, open loop (Poisson arrivals) with --rate, conversations with
--realtime."""
_DEFAULT_REQUESTS = 32
_NUMBER_NAMES: dict[type, str] = {int: "whole number above 0", float: "number above 0"}

T = TypeVar("T", int, float)


def read_options(argv: Sequence[str]) -> Options:
    """Parses the arguments. Exits with a one-line usage error if they are invalid."""
    parser = make_parser()
    given = parser.parse(argv)
    levels = _levels(parser, given)
    url = base_url(given.url)
    if url is None:
        parser.error(f"{without_secrets(given.url)!r} is not an http or https URL")
    if given.plot is not None and given.plot.suffix != ".svg":
        parser.error("--plot writes SVG: name a file that ends in .svg")
    requests = given.requests
    if requests is None and given.duration is None and not given.realtime:
        requests = _DEFAULT_REQUESTS
    return Options(
        url=url,
        api_key=_key(parser, given, url),
        levels=levels,
        requests=requests,
        duration_s=given.duration,
        warmup=given.warmup,
        timeout_s=given.timeout,
        retries=given.retries,
        seed=given.seed,
        start_buffer_s=given.start_buffer_ms / 1000,
        leave_after_s=given.leave_after,
        max_loop_lag_s=given.max_loop_lag_ms / 1000,
        workload=_workload(parser, given),
        prices=Prices(
            given.price_per_hour,
            given.price_input,
            given.price_output,
            given.price_input_audio,
            given.price_output_audio,
        ),
        realtime=_realtime(parser, given),
        judge=JudgeOptions(tuple(shlex.split(given.wer_command or "")), given.wer_whisper, given.wer_answers),
        json_path=given.json,
        plot_path=given.plot,
        command=masked_command(argv),
    )


def masked_command(argv: Sequence[str]) -> str:
    """The command line with keys and passwords masked."""
    words: list[str] = []
    hide = False
    for word in argv:
        flag, equals, _ = word.partition("=")
        if hide or (equals and flag == "--api-key"):
            words.append("--api-key=***" if equals and not hide else "***")
            hide = False
            continue
        hide = word == "--api-key"
        words.append(without_secrets(word))
    return shlex.join(["antiphon", "bench", *words])


def _levels(parser: FlagParser, given: argparse.Namespace) -> tuple[Level, ...]:
    if given.rate and given.concurrency:
        parser.error("--rate and --concurrency exclude each other: choose one")
    if given.rate:
        return tuple(Level(rate_hz=rate) for rate in given.rate)
    return tuple(Level(concurrency=number) for number in given.concurrency or [1])


def _realtime(parser: FlagParser, given: argparse.Namespace) -> RealtimeOptions | None:
    if not given.realtime:
        return None
    if given.rate or given.duration or given.plot:
        parser.error("--realtime has no --rate, --duration or --plot")
    return RealtimeOptions(
        turns=given.turns,
        utterances_s=tuple(given.utterance_seconds),
        turn_detection=given.turn_detection,
        end_within_s=given.end_within,
        pause_s=given.pause,
    )


def _key(parser: FlagParser, given: argparse.Namespace, url: str) -> str | None:
    if given.api_key and given.api_key_file:
        parser.error("--api-key and --api-key-file exclude each other: choose one")
    if given.api_key_file is None:
        return given.api_key or os.environ.get(key_variable(url)) or None
    lines = _read(parser, given.api_key_file).split()
    return lines[0] if lines else parser.error(f"{given.api_key_file} contains no key")


def _workload(parser: FlagParser, given: argparse.Namespace) -> Workload:
    prompts = _read(parser, given.prompts).splitlines() if given.prompts else []
    try:
        extra = json.loads(given.extra_body)
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        parser.error("--extra-body is not a JSON object")
    return Workload(
        model=given.model,
        voice=given.voice,
        dialect=given.dialect,
        answer=given.answer,
        inputs=INPUTS if "mixed" in given.input else tuple(given.input),
        prompts=tuple(line.strip() for line in prompts if line.strip()),
        recordings=_recordings(parser, given.audio),
        distinct=given.distinct,
        image_pixels=given.image_size,
        video_s=given.video_seconds,
        max_tokens=given.max_tokens,
        extra=extra,
    )


def _recordings(parser: FlagParser, path: Path | None) -> tuple[Path, ...]:
    if path is None:
        return ()
    found = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    if not found or not all(file.is_file() for file in found):
        parser.error(f"{path} contains no recording")
    return tuple(found)


def _read(parser: FlagParser, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        parser.error(f"{path} cannot be read")


def make_parser() -> FlagParser:
    parser = FlagParser("antiphon bench", _DESCRIPTION, "URL")
    parser.add_argument("url", metavar="URL", help="URL of the server, with or without /v1")
    _add_load_flags(parser)
    _add_workload_flags(parser)
    _add_realtime_flags(parser)
    _add_report_flags(parser)
    return parser


def _add_load_flags(parser: FlagParser) -> None:
    add = parser.add_argument
    add(
        "--concurrency", type=_counts, metavar="N,N", help="requests in flight, one level for each number [1]"
    )
    add("--rate", type=_numbers, metavar="R,R", help="requests per second (Poisson), one level each")
    add(
        "--requests",
        type=_count,
        metavar="N",
        help=f"requests per level [{_DEFAULT_REQUESTS} if no --duration]",
    )
    add("--duration", type=_number, metavar="S", help="seconds per level; open requests are finished")
    add(
        "--warmup", type=_whole, default=1, metavar="N", help="unmeasured requests before the first level [1]"
    )
    add("--timeout", type=_number, default=120.0, metavar="S", help="longest time of one request [120]")
    add("--retries", type=_whole, default=0, metavar="N", help="retries after 429, at Retry-After [0]")
    add("--seed", type=int, default=0, metavar="N", help="random seed of arrivals and media [0]")
    add(
        "--start-buffer-ms",
        type=_non_negative,
        default=0.0,
        metavar="MS",
        help="start buffer of the player [0]",
    )
    add("--leave-after", type=_number, metavar="S", help="close the stream after S seconds of audio")
    add("--max-loop-lag-ms", type=_number, default=20.0, metavar="MS", help="limit of the p99 loop lag [20]")


def _add_workload_flags(parser: FlagParser) -> None:
    add = parser.add_argument
    add("--model", help="model to request [the first one that the server lists]")
    add("--voice", help="voice to request [the server's default]")
    add("--api-key", metavar="KEY", help="visible in the process list; prefer a variable or a file")
    add("--api-key-file", type=Path, metavar="FILE", help="file whose first word is the key")
    add("--dialect", choices=get_args(Dialect), default="auto", help="format of the requests [auto]")
    add("--answer", choices=get_args(Answer), default="speech", help="kind of answer to request [speech]")
    add("--input", type=_inputs, default=["text"], metavar="KIND,KIND", help="text audio image video mixed")
    add("--prompts", type=Path, metavar="FILE", help="one question per line [a built-in set]")
    add("--audio", type=Path, metavar="FILE", help="recording, or folder of recordings, to send")
    add("--distinct", type=_count, default=16, metavar="N", help="different requests, used in turn [16]")
    add("--image-size", type=_size, default=(640, 480), metavar="WxH", help="size of images [640x480]")
    add("--video-seconds", type=_number, default=4.0, metavar="S", help="length of videos [4]")
    add("--max-tokens", type=_count, metavar="N", help="limit of text tokens per answer")
    add("--extra-body", default="{}", metavar="JSON", help="fields to add to every request body")


def _add_realtime_flags(parser: FlagParser) -> None:
    add = parser.add_argument
    defaults = RealtimeOptions()
    add(
        "--realtime",
        action="store_true",
        help="spoken conversations over /v1/realtime, --concurrency at once",
    )
    add("--turns", type=_count, default=defaults.turns, metavar="N", help="turns of a conversation [10]")
    add(
        "--utterance-seconds",
        type=_numbers,
        default=defaults.utterances_s,
        metavar="S,S",
        help="length of what the user says, one level each, unless there is --audio [2,10,30]",
    )
    add(
        "--turn-detection",
        choices=get_args(TurnDetection),
        default=defaults.turn_detection,
        help="detector of the end of a turn [server_vad]",
    )
    add(
        "--end-within", type=_number, default=defaults.end_within_s, metavar="S", help="then it is missed [5]"
    )
    add(
        "--pause", type=_non_negative, default=defaults.pause_s, metavar="S", help="pause between turns [0.5]"
    )


def _add_report_flags(parser: FlagParser) -> None:
    add = parser.add_argument
    add("--json", type=Path, metavar="FILE", help="write the report with every request")
    add("--plot", type=Path, metavar="FILE.svg", help="plot latency and underruns over the load")
    price = "price of the machine with all GPUs, for an hour"
    add("--price-per-hour", "--gpu-hour", type=_non_negative, metavar="P", help=price)
    add("--price-input", type=_non_negative, metavar="P", help="price per million input tokens")
    add("--price-output", type=_non_negative, metavar="P", help="price per million output tokens")
    add("--price-input-audio", type=_non_negative, metavar="P", help="price per million audio input tokens")
    add("--price-output-audio", type=_non_negative, metavar="P", help="price per million audio output tokens")
    add("--wer-command", metavar="CMD", help="command that transcribes the WAV file at its last argument")
    add("--wer-whisper", metavar="MODEL", help="CTranslate2 Whisper model, by path or name")
    add("--wer-answers", type=_count, default=16, metavar="N", help="answers per level to transcribe [16]")


def _number(text: str) -> float:
    return _above_zero(text, float)


def _non_negative(text: str) -> float:
    return 0.0 if text.strip("0.") == "" else _number(text)


def _count(text: str) -> int:
    return _above_zero(text, int)


def _whole(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _above_zero(text: str, kind: Callable[[str], T]) -> T:
    try:
        value = kind(text)
    except ValueError:
        value = kind("0")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a {_NUMBER_NAMES[type(value)]}")
    return value


def _numbers(text: str) -> list[float]:
    return [_number(word) for word in text.split(",")]


def _counts(text: str) -> list[int]:
    return [_count(word) for word in text.split(",")]


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return _count(width), _count(height)


def _inputs(text: str) -> list[str]:
    words = text.split(",")
    if not set(words) <= {*INPUTS, "mixed"}:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(INPUTS)}, mixed")
    return words
