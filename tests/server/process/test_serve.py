"""The server as a process: loading, serving, draining, and a stage that dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from antiphon_server.exits import ExitCode
from tests.machine import Patience, slowness

pytestmark = [pytest.mark.heavy, pytest.mark.promise("R22", "R23")]

CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello there"}]}
SPEECH = {
    **CHAT,
    "modalities": ["text", "audio"],
    "audio": {"voice": "ethan", "format": "pcm16"},
    "stream": True,
}


# Longer than anything here takes on a machine that is ten times as busy as its cores.
PATIENCE_S = 120


@dataclass
class Echo:
    """`antiphon serve` over the echo engine, as a process."""

    process: subprocess.Popen[str]
    url: str
    stderr: list[str] = field(default_factory=list)
    stdout: list[str] = field(default_factory=list)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE_S, verify=False)

    def chat(self) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/chat/completions", json=CHAT, timeout=PATIENCE_S, verify=False)

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: self.get("/readyz").status_code == 200)

    def wait_for(self, happened: object, limit_s: float = 20) -> None:
        patience = Patience(limit_s)
        while not patience.is_over():
            try:
                if happened():  # type: ignore[operator]
                    return
            except httpx.TransportError:
                pass
            assert self.process.poll() is None, "".join(self.stderr)
            time.sleep(0.02)
        raise AssertionError("it never happened: " + "".join(self.stderr))

    def ends_with(self, code: ExitCode, within_s: float = 30) -> None:
        assert self.process.wait(within_s * slowness()) == code, "".join(self.stderr)


@contextmanager
def echo(checkpoint: Path, *flags: str, **env: str) -> Iterator[Echo]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.server.echo_server", str(checkpoint), "--port", str(port), *flags]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env}
    )
    running = Echo(process, f"http://127.0.0.1:{port}")
    pipes = [(process.stdout, running.stdout), (process.stderr, running.stderr)]
    readers = [threading.Thread(target=lambda p=pipe, to=lines: to.extend(p)) for pipe, lines in pipes]  # type: ignore[misc]
    for reader in readers:
        reader.start()
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        for reader in readers:
            reader.join()


@contextmanager
def speaking(running: Echo) -> Iterator[Iterator[str]]:
    """The remaining lines of a spoken answer that has begun."""
    with httpx.stream(
        "POST", f"{running.url}/v1/chat/completions", json=SPEECH, timeout=PATIENCE_S, verify=False
    ) as response:
        assert response.status_code == 200
        lines = response.iter_lines()
        next(line for line in lines if line.startswith("data:"))
        yield lines


def test_while_the_model_loads_probes_report_it_and_requests_get_503(
    checkpoint: Path, tmp_path: Path
) -> None:
    loaded = tmp_path / "loaded"
    with echo(checkpoint, ECHO_LOADS_UNTIL=str(loaded)) as running:
        running.wait_for(lambda: running.get("/livez").status_code == 200)
        assert running.get("/readyz").json()["reasons"] == ["the model is loading"]
        refused = running.chat()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "loading")
        assert "retry-after" in refused.headers
        assert running.get("/v1/models").status_code == 503
        loaded.touch()
        running.wait_until_ready()
        assert running.get("/v1/models").status_code == 200
        assert running.chat().status_code == 200


def test_loading_steps_have_elapsed_times_and_the_banners_command_works(
    checkpoint: Path, tmp_path: Path
) -> None:
    with echo(checkpoint) as running:
        running.wait_until_ready()
        steps = [json.loads(line) for line in running.stderr]
        (step,) = [one for one in steps if one["message"] == "starting the echo"]
        assert step["elapsed_s"] >= 0
        running.wait_for(lambda: any("curl " in line for line in running.stdout))
        command = next(line for line in running.stdout if "curl " in line)
        subprocess.run(["sh", "-c", command], cwd=tmp_path, timeout=PATIENCE_S, check=True)
    with wave.open(str(tmp_path / "hello.wav")) as speech:
        assert (speech.getframerate(), speech.getnchannels()) == (24_000, 1)
        assert speech.getnframes() > 0


def test_sigterm_makes_it_unready_finishes_requests_and_exits_zero(checkpoint: Path) -> None:
    with echo(checkpoint, ECHO_HANGS_AT="3") as running:
        running.wait_until_ready()
        with speaking(running) as lines:
            running.process.send_signal(signal.SIGTERM)
            running.wait_for(lambda: running.get("/readyz").status_code == 503)
            assert running.get("/readyz").json()["reasons"] == ["the server is shutting down"]
            refused = running.chat()
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
            # A server that did not wait for the answer would have closed its socket by now.
            time.sleep(0.5)
            assert running.get("/livez").status_code == 200
            running.process.send_signal(signal.SIGUSR2)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        running.ends_with(ExitCode.OK)


def test_during_the_grace_period_it_is_unready_but_answers(checkpoint: Path) -> None:
    with echo(checkpoint, "--drain-grace", str(1.5 * slowness())) as running:
        running.wait_until_ready()
        running.process.send_signal(signal.SIGTERM)
        running.wait_for(lambda: running.get("/readyz").status_code == 503)
        assert running.chat().status_code == 200
        running.ends_with(ExitCode.OK)


def test_a_dead_http_server_ends_a_draining_process(checkpoint: Path) -> None:
    """No client can be answered any more. It used to wait until the drain timeout."""
    with echo(checkpoint, "--drain-timeout", "600", ECHO_HANGS_AT="3") as running:
        running.wait_until_ready()
        with speaking(running):
            running.process.send_signal(signal.SIGTERM)
            running.wait_for(lambda: running.get("/readyz").status_code == 503)
            running.process.send_signal(signal.SIGHUP)
            running.ends_with(ExitCode.FAULT)
        assert any("HTTP server has stopped" in line for line in running.stderr)


def test_draining_is_limited(checkpoint: Path) -> None:
    with echo(checkpoint, "--drain-timeout", "0.5", ECHO_HANGS_AT="3") as running:
        running.wait_until_ready()
        with speaking(running):
            running.process.send_signal(signal.SIGTERM)
            running.ends_with(ExitCode.UNFINISHED)


def test_a_second_sigterm_ends_it_at_once(checkpoint: Path) -> None:
    with echo(checkpoint, ECHO_HANGS_AT="3") as running:
        running.wait_until_ready()
        with speaking(running):
            running.process.send_signal(signal.SIGTERM)
            running.wait_for(lambda: running.get("/readyz").status_code == 503)
            running.process.send_signal(signal.SIGTERM)
            running.ends_with(ExitCode.UNFINISHED)


def test_sigterm_while_loading_ends_it_at_once(checkpoint: Path, tmp_path: Path) -> None:
    with echo(checkpoint, ECHO_LOADS_UNTIL=str(tmp_path / "never")) as running:
        running.wait_for(lambda: running.get("/livez").status_code == 200)
        running.process.send_signal(signal.SIGTERM)
        running.ends_with(ExitCode.OK)


def test_a_dead_stage_ends_streams_with_an_error_and_the_process_with_its_exit_code(checkpoint: Path) -> None:
    with echo(checkpoint, ECHO_DELAY_S="0.3") as running:
        running.wait_until_ready()
        with speaking(running) as lines:
            running.process.send_signal(signal.SIGUSR1)
            events = [json.loads(line[5:]) for line in lines if line.startswith("data: {")]
        error = next(event["error"] for event in events if "error" in event)
        assert (error["code"], error["message"]) == ("engine_dead", "the talker engine has stopped")
        running.ends_with(ExitCode.ENGINE_DIED, within_s=30)


def test_an_engine_that_blocks_in_close_does_not_keep_the_process_alive(checkpoint: Path) -> None:
    with echo(checkpoint, ECHO_CLOSES_S="60", ECHO_DEAD_EXIT_S="0.5") as running:
        running.wait_until_ready()
        running.process.send_signal(signal.SIGUSR1)
        running.ends_with(ExitCode.ENGINE_DIED, within_s=30)


def test_an_engine_that_does_not_start_is_one_line(checkpoint: Path) -> None:
    with echo(checkpoint, ECHO_FAILS_WITH="no room for 3 GiB of cache\nmore") as running:
        assert running.process.wait(PATIENCE_S) != 0
    said = [line for line in running.stderr if "did not start" in line]
    assert said[-1].strip().endswith("no room for 3 GiB of cache")


def test_an_error_of_the_operator_is_a_bad_configuration(checkpoint: Path) -> None:
    problem = "the voice voices/ada.json cannot be used: no licence"
    with echo(checkpoint, ECHO_REFUSES_WITH=problem) as running:
        running.ends_with(ExitCode.BAD_CONFIG)
    assert f"antiphon: {problem}" in [line.strip() for line in running.stderr]


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("chat_template.jinja", None, "has no chat template"),
        ("chat_template.jinja", "{% if %}", "chat template cannot be used: Expected an expression"),
        ("tokenizer.json", "{}", "tokenizer or chat template cannot be used"),
    ],
)
def test_a_broken_checkpoint_is_reported_before_the_model_is_loaded(
    checkpoint: Path, tmp_path: Path, file: str, text: str | None, words: str
) -> None:
    broken = shutil.copytree(checkpoint, tmp_path / "broken")
    (broken / file).unlink()
    if text is not None:
        (broken / file).write_text(text, encoding="utf-8")
    with echo(broken, ECHO_LOADS_UNTIL=str(tmp_path / "never")) as running:
        running.ends_with(ExitCode.NOT_A_CHECKPOINT)
    assert words in running.stderr[-1]
    assert len(running.stderr) == 1


def test_idle_connections_do_not_delay_the_end(checkpoint: Path) -> None:
    with echo(checkpoint) as running:
        running.wait_until_ready()
        address = ("127.0.0.1", int(running.url.rsplit(":", 1)[1]))
        with socket.create_connection(address), socket.create_connection(address) as half:
            half.sendall(b"GET / HTTP/1.1\r\nHo")
            time.sleep(0.1)
            running.process.send_signal(signal.SIGTERM)
            running.ends_with(ExitCode.OK, within_s=30)
