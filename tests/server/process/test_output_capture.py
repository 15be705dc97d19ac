"""Output of libraries and engine processes can neither forge log lines nor quote requests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import httpx
import pytest

from antiphon_server.exits import ExitCode
from tests.server.process.test_serve import CHAT, echo

pytestmark = [pytest.mark.heavy, pytest.mark.promise("R29", "R46")]

CANARY = "canary-9f3c"
# As the grammar compiler repeats a schema's `$ref`.
FORGED = f'[json_schema.cc:12] Cannot find \r\n{{"level": "info", "message": "{CANARY}"}}\n\x1b[31m{CANARY}\n'


def records(lines: list[str]) -> list[dict[str, Any]]:
    """Every line is one record, or this fails."""
    return [json.loads(line) for line in lines]


def test_an_engine_process_cannot_forge_a_log_line(checkpoint: Path) -> None:
    with echo(checkpoint, ECHO_CHILD_WRITES=FORGED) as running:
        running.wait_until_ready()
        for _ in range(3):
            assert (
                httpx.post(f"{running.url}/v1/chat/completions", json=CHAT, verify=False).status_code == 200
            )
        running.process.terminate()
        running.ends_with(ExitCode.OK)
    said = [one for one in records(running.stderr) if one["logger"] == "antiphon.foreign"]
    assert CANARY not in "".join(running.stderr + running.stdout)
    assert sum(one["lines"] for one in said) == 3 * 2 * 3
    assert sum(one["bytes"] for one in said) > 6 * len(CANARY)


def test_with_exception_messages_each_line_is_one_record(checkpoint: Path) -> None:
    with echo(checkpoint, "--logs.exception-messages", ECHO_CHILD_WRITES=FORGED) as running:
        running.wait_until_ready()
        assert httpx.post(f"{running.url}/v1/chat/completions", json=CHAT, verify=False).status_code == 200
        running.wait_for(lambda: sum(CANARY in line for line in running.stderr) == 4)
    framed = [one for one in records(running.stderr) if CANARY in one["message"]]
    assert {one["logger"] for one in framed} == {"antiphon.foreign"}
    assert not any("\x1b" in line or "\r" in line for line in running.stderr)


def test_before_serving_the_text_is_logged_at_level_debug(checkpoint: Path) -> None:
    """No request exists yet that could be quoted, and the output explains a slow start."""
    with echo(checkpoint, "--logs.level", "debug", ECHO_CHILD_WRITES=FORGED) as running:
        running.wait_until_ready()
        running.wait_for(lambda: sum(CANARY in line for line in running.stderr) == 4)
        assert httpx.post(f"{running.url}/v1/chat/completions", json=CHAT, verify=False).status_code == 200
        running.wait_for(lambda: any("libraries wrote" in line for line in running.stderr))
    assert sum(CANARY in line for line in running.stderr) == 4
    records(running.stderr)


def program(body: str) -> list[str]:
    start = """
        import os, subprocess, sys, time
        from antiphon_server.observability import logging as logs
        from antiphon_server.config.settings import LogSettings
        from antiphon_server.process.output_capture import OutputCapture
        settings = LogSettings(format="json")
        capture = OutputCapture(settings)
        console = capture.start()
        log = logs.configure(settings, console.err)
    """
    return [sys.executable, "-c", textwrap.dedent(start) + textwrap.dedent(body)]


def run(body: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(program(body), capture_output=True, text=True, timeout=240, check=True, **kwargs)


def test_a_process_that_writes_endlessly_never_blocks_even_if_the_log_is_not_read() -> None:
    """An engine step must not block on its own output: 64 MiB pass while standard error is full."""
    body = """
        capture.begin_serving()
        endless = "import os\\nfor _ in range(1024): os.write(2, b'x' * 65535 + b'\\\\n')"
        writer = [sys.executable, "-SIc", endless]
        for _ in range(2_000):
            logs.logging.getLogger("antiphon.test").info("y" * 1_000)
        subprocess.run(writer, check=True)
        os._exit(0)
    """
    reading, writing = os.pipe()
    done = subprocess.Popen(program(body), stderr=writing, stdout=writing)
    os.close(writing)
    try:
        # It would block for ever: the limit only ends the test.
        assert done.wait(240) == 0
    finally:
        # The writer ends with its pipes.
        done.kill()
        os.close(reading)


@pytest.mark.parametrize(
    ("written", "cause"),
    [
        (
            "(EngineCore pid=7) ERROR 11-30 04:00:00 [core.py:12] Traceback (most recent call last):\n"
            "(EngineCore pid=7) ERROR 11-30 04:00:00 [core.py:12] ValueError: No room for the KV cache\n"
            "RuntimeError: Engine core initialization failed. See root cause above.\n",
            "ValueError: No room for the KV cache",
        ),
        ("torch.OutOfMemoryError: out of memory\n", "OutOfMemoryError: out of memory"),
        ("all is well\n", "None"),
    ],
)
def test_the_last_error_during_the_start_is_its_cause(written: str, cause: str) -> None:
    body = f"""
        os.write(2, {written!r}.encode())
        time.sleep(0.2)
        late = time.monotonic() + 120
        while str(capture.startup_error()) != {cause!r} and time.monotonic() < late:
            time.sleep(0.01)
        print(capture.startup_error(), file=console.out, flush=True)
    """
    assert run(body).stdout.strip() == cause


def test_output_of_libraries_at_exit_is_discarded() -> None:
    """Lines such as `leaked shared_memory objects` look like faults and are none."""
    body = """
        import atexit
        atexit.register(os.write, 2, b"nanobind: leaked 3 instances!\\n")
        capture.close()
        log.flush()
    """
    assert run(body).stderr == ""


def test_our_own_traceback_reaches_standard_error() -> None:
    body = """
        try:
            raise ZeroDivisionError("ours")
        except ZeroDivisionError:
            capture.restore()
            sys.excepthook(*sys.exc_info())
    """
    assert "ZeroDivisionError: ours" in run(body).stderr


def test_errors_are_counted_by_well_known_names_only() -> None:
    body = """
        capture.begin_serving()
        os.write(2, b"(EngineCore pid=7) RuntimeError: secret\\nMadeUpSecretError: x\\n")
        capture.close()
        log.flush()
    """
    (record,) = records(run(body).stderr.splitlines())
    assert (record["level"], record["errors"], record["lines"]) == ("warning", "RuntimeError", 2)
    assert "ecret" not in json.dumps(record)
