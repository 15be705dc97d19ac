"""A whole server of each family on vLLM's V2 model runner, as the stock client sees it.

Named so that only `make test-v2` collects it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.checkpoints import released_qwen3_omni, tiny_qwen3_5_omni  # noqa: F401
from tests.e2e.answers import STREAMED, Answer, ask, said
from tests.e2e.recordings import make_recordings
from tests.e2e.server_process import MODEL, RunningServer, becomes, start_server, terminate

pytestmark = pytest.mark.engine

VOICES = {"Qwen3OmniTalker": "ethan", "Qwen3_5OmniTalker": "ada"}
QUESTIONS = ("Count to three.", "Why?", "Tell me about the red house by the river.")


@dataclass
class Served:
    server: RunningServer
    talker: str
    warmed: Path

    def form(self) -> dict[str, Any]:
        return {**STREAMED, "audio": {"voice": VOICES[self.talker], "format": "pcm16"}, "seed": 1}

    def speak(self, question: list[dict[str, Any]]) -> Answer:
        return ask(self.server.client(), question, **self.form())


@pytest.fixture(scope="module", params=list(VOICES))
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    of_qwen3 = request.param == "Qwen3OmniTalker"
    model = request.getfixturevalue("released_qwen3_omni" if of_qwen3 else "tiny_qwen3_5_omni")
    folder = tmp_path_factory.mktemp("v2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTIPHON_TEST_WARMED", str(folder / "warmed"))
        server = start_server(model, folder / "log", "--engine.restarts", "0")
    yield Served(server, request.param, folder / "warmed")
    server.end()


def test_both_engines_are_warmed_up_as_vllm_does(served: Served) -> None:
    assert served.talker in served.warmed.read_text().split()
    assert len(served.warmed.read_text().split()) == 2


def test_a_recording_and_a_picture_are_answered_aloud(served: Served) -> None:
    recordings = make_recordings()
    text = {"type": "text", "text": "What do you see and hear?"}
    content = [recordings.asked_aloud(), recordings.shown(), text]
    answer = served.speak([{"role": "user", "content": content}])
    assert answer.text
    assert answer.frames == answer.usage.completion_tokens_details.audio_tokens > 0
    counted = answer.usage.prompt_tokens_details
    assert counted.audio_tokens > 0
    assert counted.image_tokens > 0


def test_three_speak_at_once_as_each_alone(served: Served) -> None:
    """In float32, in which a batch rounds too little to change a draw."""
    alone = [served.speak(said(question)) for question in QUESTIONS]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(served.speak, map(said, QUESTIONS)))
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    for one, other in zip(together, alone, strict=True):
        samples, expected = (np.frombuffer(answer.pcm, np.int16).astype(int) for answer in (one, other))
        np.testing.assert_allclose(samples, expected, rtol=0, atol=3)


def test_a_client_that_leaves_in_mid_stream_frees_everything(served: Served) -> None:
    body = {"model": MODEL, "messages": said("Tell me a long story."), "max_tokens": 400, **served.form()}
    url = f"{served.server.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=120) as answer:
        assert next(line for line in answer.iter_lines() if '"data"' in line)
    assert becomes(served.server.is_idle, 30), served.server.metrics()
    assert served.speak(said("Are you there?")).frames > 0


def test_it_stops_on_a_signal(served: Served) -> None:
    """Last of this file."""
    assert terminate(served.server) == 0
    assert becomes(lambda: not served.server.survivors(), 10), served.server.what_survives()
    lines = [json.loads(line) for line in served.server.log.read_text().splitlines() if line.startswith("{")]
    assert not [line for line in lines if line["level"] in ("error", "critical")]
