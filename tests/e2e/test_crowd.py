"""Many clients at the same time, some of which leave: answers are never mixed up, and none is left over."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from tests.e2e.answers import SPOKEN, STREAMED, Answer, ask, said
from tests.e2e.recordings import Recordings
from tests.e2e.server_process import MODEL, RunningServer, becomes

pytestmark = pytest.mark.engine

STREAMS = 8
HANG_UPS = 200
# Answers take up to a second or last until then; a longer stay is more of the same.
STAYS_S = 1.0
LEAVING_AT_ONCE = 10
FREE_WITHIN_S = 1.0
# Of random weights, the greedy Talker does not find an end.
LASTING = {"max_tokens": 400, "talker_temperature": 0}


def all_at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def test_eight_spoken_requests_and_four_texts_at_once_answer_as_if_alone(
    client: openai.OpenAI, recordings: Recordings
) -> None:
    """Batching may change rounding, but not the answers: every second one is compared with a run alone."""

    def speak(number: int) -> Answer:
        question = recordings.all_at_once() if number % 4 == 0 else said(f"Count to {number}.")
        return ask(client, question, seed=number, **(STREAMED if number % 2 else SPOKEN))

    def write(number: int) -> Answer:
        return ask(client, said(f"Write {number}."), max_tokens=40)

    calls = [lambda n=n: speak(n) for n in range(STREAMS)] + [lambda n=n: write(n) for n in range(4)]
    together = all_at_once(calls)
    for number in range(0, STREAMS, 2):
        alone = speak(number)
        assert together[number].text == alone.text
        assert together[number].frames == alone.frames
    for answer in together[:STREAMS]:
        assert answer.frames == answer.usage.completion_tokens_details.audio_tokens
    assert [answer.text for answer in together[STREAMS:]] == [write(number).text for number in range(4)]


def test_one_token_about_media_is_spoken_too(client: openai.OpenAI, recordings: Recordings) -> None:
    """The Thinker is done before its media rows have arrived, which once left the speech waiting."""
    calls = [
        lambda: ask(client, recordings.all_at_once(), max_tokens=1, **SPOKEN) for _ in range(2 * STREAMS)
    ]
    answers = all_at_once(calls)
    assert {answer.text for answer in answers} == {answers[0].text}
    assert sum(answer.frames for answer in answers) > STREAMS


def test_more_spoken_requests_than_streams_wait_and_are_all_served(client: openai.OpenAI) -> None:
    calls = [lambda n=n: ask(client, said(f"Say {n}."), seed=n, **STREAMED) for n in range(3 * STREAMS)]
    answers = all_at_once(calls)
    assert [answer.frames for answer in answers] == [
        answer.usage.completion_tokens_details.audio_tokens for answer in answers
    ]
    assert sum(answer.frames > 0 for answer in answers) > STREAMS


def test_requests_beyond_the_queue_are_rejected_at_once_with_a_retry_time(served: RunningServer) -> None:
    """8 speak and 64 wait; of 100 callers the rest is refused, and the others can leave.

    No answer ends before the last caller has come, however fast the server is.
    """
    body = {"model": MODEL, "messages": said("Say much."), "stream": True, **SPOKEN}
    body |= {"max_tokens": 3_500, "ignore_eos": True}
    body["audio"] = STREAMED["audio"]
    refused: list[httpx.Response] = []
    enough = threading.Event()
    caller = httpx.Client(limits=httpx.Limits(max_connections=None), timeout=60, verify=False)

    def call() -> None:
        with caller.stream("POST", f"{served.url}/v1/chat/completions", json=body, timeout=60) as answer:
            if answer.status_code != 200:
                answer.read()
                refused.append(answer)
            enough.wait(60)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(100)]
    for thread in threads:
        thread.start()
    assert becomes(lambda: len(refused) >= 100 - STREAMS - 64 - 8, 20), len(refused)
    enough.set()
    for answer in refused:
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["code"] == "queue_full"
    for thread in threads:
        thread.join(60)
    assert becomes(served.is_idle, 10)


def test_two_hundred_hang_ups_leave_nothing_running(
    served: RunningServer, client: openai.OpenAI, recordings: Recordings
) -> None:
    dice = random.Random(7)
    before = served.metrics()
    with ThreadPoolExecutor(LEAVING_AT_ONCE) as pool:
        jobs = [
            (json.dumps(_make_body(dice, recordings)).encode(), dice.uniform(0, STAYS_S))
            for _ in range(HANG_UPS)
        ]
        list(pool.map(lambda job: _leave(served.port, *job), jobs))
    assert becomes(served.is_idle, FREE_WITHIN_S), served.metrics()
    assert _aborted(served.metrics()) > _aborted(before) + HANG_UPS / 4
    assert ask(client, said("Still there?"), seed=1, **SPOKEN).frames > 0


def _make_body(dice: random.Random, recordings: Recordings) -> dict[str, Any]:
    """Half of them last until their client leaves, however fast the server is."""
    messages = recordings.all_at_once() if dice.random() < 0.3 else said("Say a long sentence.")
    form = dice.choice([STREAMED | LASTING, SPOKEN | LASTING, SPOKEN, {"stream": True}])
    return {"model": MODEL, "messages": messages, "max_tokens": 64, **form}


def _leave(port: int, body: bytes, after_s: float) -> None:
    """Asks, reads whatever comes for `after_s`, and resets the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)
        until = time.monotonic() + after_s
        while (left_s := until - time.monotonic()) > 0:
            sock.settimeout(left_s)
            try:
                if not sock.recv(65_536):
                    break
            except TimeoutError:
                break
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _aborted(metrics: dict[tuple[str, str], float]) -> float:
    return sum(value for (name, _), value in metrics.items() if name == "antiphon_requests_aborted_total")
