"""`--engine.deterministic`: a seed gives the same text, samples and probabilities alone and among others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import Any

import openai
import pytest

from tests.e2e.answers import SPOKEN, STREAMED, ask, said
from tests.e2e.recordings import Recordings
from tests.e2e.server_process import MODEL, RunningServer

pytestmark = pytest.mark.engine

VOICE = "ada"
DRAWN = {"temperature": 1.0, "max_tokens": 16}
Question = tuple[list[dict[str, Any]], int]


@pytest.fixture(scope="module")
def questions(recordings: Recordings) -> list[Question]:
    """With seeds. A prompt of several chunks is among them, and each kind of media."""
    seen = [*said("What is it?")]
    seen[0]["content"] = [
        recordings.asked_aloud(),
        recordings.shown(),
        {"type": "text", "text": "What is it?"},
    ]
    return [(said("Hello."), 1), (said("Tell me of the red house. " * 60), 2), (seen, 3), (said("Hello."), 4)]


def spoken(client: openai.OpenAI, question: Question, form: dict[str, Any] = SPOKEN) -> tuple[str, bytes]:
    messages, seed = question
    audio = {**form["audio"], "voice": VOICE}
    answer = ask(client, messages, seed=seed, **DRAWN, **{**form, "audio": audio})
    return answer.text, answer.pcm


def test_answers_among_others_are_those_given_alone(steady: RunningServer, questions: list[Question]) -> None:
    client = steady.client()
    alone = [spoken(client, question) for question in questions]
    assert len(set(alone)) == len(questions)
    forms = [*islice(cycle((SPOKEN, STREAMED)), 2 * len(questions))]
    with ThreadPoolExecutor(12) as pool:
        noise = [pool.submit(ask, client, said(f"Count to {number}."), max_tokens=40) for number in range(4)]
        again = [*pool.map(lambda asked: spoken(client, *asked), zip(questions * 2, forms, strict=True))]
        assert all(one.result().text for one in noise)
    assert again == alone * 2


def test_probabilities_are_the_same_to_the_last_bit(steady: RunningServer, questions: list[Question]) -> None:
    client = steady.client()

    def logprobs(question: Question) -> list[float]:
        answer = client.chat.completions.create(
            model=MODEL, messages=question[0], seed=question[1], logprobs=True, **DRAWN
        )
        return [token.logprob for token in answer.choices[0].logprobs.content]

    alone = [logprobs(question) for question in questions]
    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(logprobs, questions * 2)] == alone * 2


def test_the_server_says_so(steady: RunningServer) -> None:
    assert "one request per step" in steady.log.read_text()
