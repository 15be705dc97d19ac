"""Streaming text requests to an OpenAI-compatible server, and what they took.

The client speaks HTTP/1.1 over plain sockets: it shares the machine with the server that it measures, so it
does as little as possible. Chunks are timed when they are read and parsed when the level has ended.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

_DONE = b"data: [DONE]"
_TIMEOUT_S = 120.0


class BadAnswer(Exception):
    """A request was refused, an answer has fewer tokens than were asked for, or a level has no text."""


@dataclass(frozen=True, slots=True)
class LevelFigures:
    """One level of one server. Seconds, except `tokens_per_s`.

    `token`: from the first to the last token of an answer, by the number of tokens between them. `gap`: from
    one arrival to the next; tokens that arrive together are one arrival.
    """

    tokens_per_s: float
    ttft_p50_s: float
    ttft_p95_s: float
    token_p50_s: float
    gap_p95_s: float


@dataclass(slots=True)
class _Answer:
    began_s: float
    arrivals: list[tuple[float, bytes]]


def request_body(model: str, number: int, tokens: int, **extra: Any) -> bytes:
    """A question that no other number has, so that no prefix cache answers for the prompt."""
    text = f"Question {number * 7919 % 100_003}: tell me about the {number}th house by the river, and why."
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": tokens,
        "ignore_eos": True,
        # The most likely token of random weights may be the same special token again and again, without text.
        "temperature": 1.0,
        **extra,
    }
    return json.dumps(body).encode()


async def run_level(url: str, bodies: list[bytes], concurrency: int, tokens: int) -> LevelFigures:
    """`concurrency` clients send `bodies`, each its next one when its last answer has ended."""
    waiting, answers = list(reversed(bodies)), list[_Answer]()

    async def client() -> None:
        while waiting:
            answers.append(await _ask(url, waiting.pop()))

    began = time.perf_counter()
    async with asyncio.timeout(_TIMEOUT_S), asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(client())
    return _figures(answers, time.perf_counter() - began, tokens)


async def _ask(url: str, body: bytes) -> _Answer:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=1 << 20)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    answer = _Answer(time.perf_counter(), [])
    try:
        writer.write(head.encode() + body)
        status = await reader.readline()
        if b" 200 " not in status:
            raise BadAnswer((status + await reader.read()).decode(errors="replace"))
        while piece := await reader.read(1 << 16):
            answer.arrivals.append((time.perf_counter(), piece))
    finally:
        writer.close()
    return answer


def _figures(answers: list[_Answer], took_s: float, tokens: int) -> LevelFigures:
    first, each, gaps = list[float](), list[float](), list[float]()
    for answer in answers:
        times = _text_times(answer, tokens)
        if not times:
            continue
        first.append(times[0] - answer.began_s)
        each.append((times[-1] - times[0]) / (tokens - 1))
        gaps += [later - earlier for earlier, later in pairwise(sorted(set(times)))]
    if not first:
        raise BadAnswer("no answer of the level had text")
    return LevelFigures(
        tokens_per_s=len(answers) * tokens / took_s,
        ttft_p50_s=statistics.median(first),
        ttft_p95_s=percentile(first, 95),
        token_p50_s=statistics.median(each),
        gap_p95_s=percentile(gaps or [0.0], 95),
    )


def _text_times(answer: _Answer, tokens: int) -> list[float]:
    """Arrival of each event that carries a choice with text. Raises BadAnswer if tokens are missing.

    Random weights may write tokens without text; such an answer has no times.
    """
    times, counted, rest = list[float](), 0, b""
    for at, piece in answer.arrivals:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if not line.startswith(b"data: ") or line.startswith(_DONE):
                continue
            event = json.loads(line[6:])
            counted = (event.get("usage") or {}).get("completion_tokens", counted)
            if any(choice["delta"].get("content") for choice in event.get("choices", ())):
                times.append(at)
    if counted != tokens:
        raise BadAnswer(f"{counted} tokens in {len(times)} events instead of {tokens} tokens")
    return times


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
