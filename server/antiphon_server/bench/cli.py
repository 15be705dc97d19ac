"""The flags of `antiphon bench`.

In: arguments and the environment. Out: `Options`. A key is never repeated in what is printed or written.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, get_args

from antiphon_server.bench.options import INPUTS, Answer, Asking, Dialect, Judging, Level, Options, Prices
from antiphon_server.bench.target import base_url, key_variable, without_secrets
from antiphon_server.config.flags import FlagParser

_DESCRIPTION = """Measure an OpenAI-compatible omni endpoint: latency, steady speech, throughput and
cost. Closed loop with --concurrency, open loop (Poisson arrivals) with --rate."""
_REQUESTS_A_LEVEL = 32
_NUMBER_NAMES: dict[type, str] = {int: "whole number above 0", float: "number above 0"}

T = TypeVar("T", int, float)


def read_options(argv: Sequence[str]) -> Options:
    """Ends the process with a usage error of one line where they make no sense."""
    parser = _parser()
    given = parser.parse(argv)
    levels = _levels(parser, given)
    url = base_url(given.url)
    if url is None:
        parser.error(f"{without_secrets(given.url)!r} is no http or https URL")
    if given.plot is not None and given.plot.suffix != ".svg":
        parser.error("--plot writes SVG: name a file that ends in .svg")
    requests = given.requests
    if requests is None and given.duration is None:
        requests = _REQUESTS_A_LEVEL
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
        asking=_asking(parser, given),
        prices=Prices(
            given.price_per_hour,
            given.price_input,
            given.price_output,
            given.price_input_audio,
            given.price_output_audio,
        ),
        judging=Judging(tuple(shlex.split(given.wer_command or "")), given.wer_whisper, given.wer_answers),
        json_path=given.json,
        plot_path=given.plot,
        command=echo_of(argv),
    )


def echo_of(argv: Sequence[str]) -> str:
    """The command as it may be shown and stored."""
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
        parser.error("--rate sends whatever is in flight: give it without --concurrency")
    if given.rate:
        return tuple(Level(rate_hz=rate) for rate in given.rate)
    return tuple(Level(concurrency=number) for number in given.concurrency or [1])


def _key(parser: FlagParser, given: argparse.Namespace, url: str) -> str | None:
    if given.api_key and given.api_key_file:
        parser.error("the key is given twice")
    if given.api_key_file is None:
        return given.api_key or os.environ.get(key_variable(url)) or None
    lines = _read(parser, given.api_key_file).split()
    return lines[0] if lines else parser.error(f"{given.api_key_file} holds no key")


def _asking(parser: FlagParser, given: argparse.Namespace) -> Asking:
    prompts = _read(parser, given.prompts).splitlines() if given.prompts else []
    try:
        extra = json.loads(given.extra_body)
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        parser.error("--extra-body is no JSON object")
    return Asking(
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
        parser.error(f"{path} holds no recording")
    return tuple(found)


def _read(parser: FlagParser, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        parser.error(f"{path} cannot be read")


def _parser() -> FlagParser:
    parser = FlagParser("antiphon bench", _DESCRIPTION, "URL")
    parser.add_argument("url", metavar="URL", help="of the server, with or without its /v1")
    _add_load(parser)
    _add_asking(parser)
    _add_report(parser)
    return parser


def _add_load(parser: FlagParser) -> None:
    add = parser.add_option
    add("--concurrency", type=_counts, metavar="N,N", help="requests in flight, one level each [1]")
    add("--rate", type=_numbers, metavar="R,R", help="requests a second, Poisson, one level each")
    add("--requests", type=_count, metavar="N", help=f"a level [{_REQUESTS_A_LEVEL}, without --duration]")
    add("--duration", type=_number, metavar="S", help="send for so long a level; what runs is finished")
    add("--warmup", type=_whole, default=1, metavar="N", help="requests before the first level [1]")
    add("--timeout", type=_number, default=120.0, metavar="S", help="of a whole request [120]")
    add("--retries", type=_whole, default=0, metavar="N", help="after a 429, when Retry-After says [0]")
    add("--seed", type=int, default=0, metavar="N", help="of arrivals and media [0]")
    add("--start-buffer-ms", type=_rest, default=0.0, metavar="MS", help="before the player starts [0]")
    add("--leave-after", type=_number, metavar="S", help="hang up after so many seconds of speech")
    add("--max-loop-lag-ms", type=_number, default=20.0, metavar="MS", help="p99 of a reliable run [20]")


def _add_asking(parser: FlagParser) -> None:
    add = parser.add_option
    add("--model", help="the model to ask for [the first one listed]")
    add("--voice", help="the voice to ask for [the server's default]")
    add("--api-key", metavar="KEY", help="others can see it; better a variable or a file")
    add("--api-key-file", type=Path, metavar="FILE", help="its first word is the key")
    add("--dialect", choices=get_args(Dialect), default="auto", help="how requests are written [auto]")
    add("--answer", choices=get_args(Answer), default="speech", help="what is asked for [speech]")
    add("--input", type=_inputs, default=["text"], metavar="KIND,KIND", help="text audio image video mixed")
    add("--prompts", type=Path, metavar="FILE", help="a question a line [a set of our own]")
    add("--audio", type=Path, metavar="FILE", help="a recording, or a folder of them, to ask with")
    add("--distinct", type=_count, default=16, metavar="N", help="different requests, used in turn [16]")
    add("--image-size", type=_size, default=(640, 480), metavar="WxH", help="of pictures [640x480]")
    add("--video-seconds", type=_number, default=4.0, metavar="S", help="of videos [4]")
    add("--max-tokens", type=_count, metavar="N", help="of an answer's text")
    add("--extra-body", default="{}", metavar="JSON", help="more fields for every request")


def _add_report(parser: FlagParser) -> None:
    add = parser.add_option
    add("--json", type=Path, metavar="FILE", help="the whole report, every request in it")
    add("--plot", type=Path, metavar="FILE.svg", help="latency and underruns over the load")
    add("--price-per-hour", type=_rest, metavar="P", help="of the machine behind the URL, all GPUs")
    add("--price-input", type=_rest, metavar="P", help="of a million input tokens")
    add("--price-output", type=_rest, metavar="P", help="of a million output tokens")
    add("--price-input-audio", type=_rest, metavar="P", help="of a million audio input tokens")
    add("--price-output-audio", type=_rest, metavar="P", help="of a million audio output tokens")
    add("--wer-command", metavar="CMD", help="gets a WAV file's path, prints what it hears")
    add("--wer-whisper", metavar="MODEL", help="a CTranslate2 Whisper model, by path or name")
    add("--wer-answers", type=_count, default=16, metavar="N", help="answers a level to judge [16]")


def _number(text: str) -> float:
    return _above_zero(text, float)


def _rest(text: str) -> float:
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
        raise argparse.ArgumentTypeError(f"{text!r} is no {_NUMBER_NAMES[type(value)]}")
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
