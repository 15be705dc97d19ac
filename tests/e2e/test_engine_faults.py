"""Faults inside the engines: NaN weights, a stopped process, text that forges log lines.

One server runs all tests, in this order, and those of test_restarts.py and test_out_of_memory.py.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from antiphon_server.exits import ExitCode
from tests.e2e.answers import SPOKEN, STREAMED, said
from tests.e2e.live_stream import LiveStream, talker_process, thinker_process
from tests.e2e.nan_weights import LETTER, VOICE
from tests.e2e.server_process import MODEL, RunningServer, becomes, engine_metric

pytestmark = pytest.mark.engine

CANARY = "canary-77e1"


def ask(server: RunningServer, text: str, **more: Any) -> httpx.Response:
    body = {"model": MODEL, "messages": said(text), "max_tokens": 8, "seed": 1, **more}
    return httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)


def corrupted(server: RunningServer, stage: str) -> float:
    return server.metrics().get(engine_metric("corrupted_requests_total", stage), 0.0)


def test_nan_logits_end_only_their_own_request_with_an_error(
    faulty: RunningServer,
) -> None:
    before = corrupted(faulty, "thinker")
    with ThreadPoolExecutor(8) as pool:
        bad = [pool.submit(ask, faulty, f"hello {LETTER}") for _ in range(3)]
        good = [pool.submit(ask, faulty, "hello") for _ in range(3)]
        assert [answer.result().status_code for answer in good] == [200] * 3
        refused = [answer.result() for answer in bad]
    assert [answer.status_code for answer in refused] == [500] * 3
    assert {answer.json()["error"]["type"] for answer in refused} == {"server_error"}
    assert corrupted(faulty, "thinker") == before + 3
    assert becomes(faulty.is_idle, 5)


def test_a_nan_voice_ends_only_its_own_stream_with_an_error(
    faulty: RunningServer,
) -> None:
    before = corrupted(faulty, "talker")
    audio = {"audio": {"voice": VOICE, "format": "pcm16"}}
    broken = LiveStream(
        faulty, {"model": MODEL, "messages": said("Hello."), "max_tokens": 8, "seed": 1, **STREAMED, **audio}
    )
    assert ask(faulty, "Hello.", **SPOKEN).json()["choices"][0]["message"]["audio"]["data"]
    assert broken.ended(30)
    assert "[DONE]" not in broken.lines
    assert not broken.has_sound
    assert json.loads(broken.lines[-1])["error"]["type"] == "server_error"
    assert corrupted(faulty, "talker") == before + 1
    assert becomes(faulty.is_idle, 5)


def test_a_seed_gives_the_same_answer_in_any_prefill_chunking(faulty: RunningServer) -> None:
    """This crashed the engine: vLLM resets the offset of generators, and CPU generators have none."""
    question = "a " * 1_000
    alone = ask(faulty, question, seed=7)
    assert alone.status_code == 200, alone.text
    with ThreadPoolExecutor(6) as pool:
        others = [pool.submit(ask, faulty, "b " * length, seed=3) for length in (300, 700, 1_100)]
        again = [pool.submit(ask, faulty, question, seed=7) for _ in range(3)]
        texts = {one.result().json()["choices"][0]["message"]["content"] for one in again}
        assert {one.result().status_code for one in others} == {200}
    assert texts == {alone.json()["choices"][0]["message"]["content"]}
    assert faulty.metrics().get(("antiphon_engine_restarts_total", "thinker"), 0) == 0


@pytest.mark.promise("R49")
@pytest.mark.parametrize("stage", ["thinker", "talker"])
def test_a_stopped_engine_is_not_ready_within_five_seconds_and_becomes_ready_again(
    faulty: RunningServer, stage: str
) -> None:
    """The watchdog ends it after a minute; until then new work would wait for that."""
    hit = talker_process(faulty) if stage == "talker" else thinker_process(faulty)
    path = "/readyz?need=speech"
    assert faulty.get(path).status_code == 200
    hit.send_signal(signal.SIGSTOP)
    try:
        assert becomes(lambda: faulty.get(path).status_code == 503, 6)
        readiness = faulty.get(path).json()
        assert readiness["reasons"] == [f"the {stage} engine does not answer"]
        assert readiness["works"] == ([] if stage == "thinker" else ["text"])
    finally:
        hit.send_signal(signal.SIGCONT)
    assert becomes(lambda: faulty.get(path).status_code == 200, 5)
    assert ask(faulty, "hello").status_code == 200
    assert faulty.metrics().get(("antiphon_engine_restarts_total", stage), 0) == 0


def test_long_prompts_do_not_make_readiness_flap(faulty: RunningServer) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ask, faulty, "a " * 3_500, max_tokens=2) for _ in range(4)]
        while not all(answer.done() for answer in answers):
            assert faulty.get("/readyz").status_code == 200
            time.sleep(0.1)
    assert {answer.result().status_code for answer in answers} == {200}


def test_a_schema_forges_no_line_of_the_log(faulty: RunningServer) -> None:
    for reference in (f'#/$defs/x\r\n{{"level": "{CANARY}"}}', f"\x1b[31m{CANARY}\n", f"http://{CANARY}/"):
        schema = {"type": "object", "properties": {"a": {"$ref": reference}}, "title": CANARY}
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        ask(faulty, CANARY, response_format=form)
    assert CANARY not in faulty.log.read_text()


def test_a_start_that_fails_inside_an_engine_prints_its_cause_in_one_line(
    released_qwen3_omni: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM's own last words are `See root cause above`."""
    command = [sys.executable, "-m", "antiphon_server", "serve", str(released_qwen3_omni), "--port", "0"]
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "faults"))
    monkeypatch.setenv("ANTIPHON_TEST_FAULTS", str(tmp_path))
    (tmp_path / "weights").touch()
    done = subprocess.run(
        [*command, "--no-engine.speech", "--max-model-len", "4096"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == ExitCode.ENGINE_FAILED, done.stderr
    (said_at,) = [line for line in done.stderr.splitlines() if line.startswith("antiphon: ")]
    assert "the engine did not start: " in said_at
    assert "root cause" not in said_at
    assert "injected" in said_at
    assert "Traceback" not in done.stderr
