"""`antiphon bench` as a process: exit codes, Ctrl-C, our own server in each dialect."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from antiphon_server.config.settings import ServerSettings
from antiphon_server.exits import ExitCode
from antiphon_server.http.app import create_app
from tests.server.bench.raw_server import Answer, raw_server, refusal, spoken
from tests.server.exchange import becomes_true
from tests.server.parts import make_service
from tests.server.raw_http import serving

pytestmark = pytest.mark.heavy

KEY = "canary-key-23"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


async def start(*argv: str) -> asyncio.subprocess.Process:
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "antiphon_server", "bench", *argv,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**clean, "ANTIPHON_API_KEY": KEY},
    )  # fmt: skip


async def end_of(process: asyncio.subprocess.Process) -> Done:
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return Done(process.returncode or 0, out.decode(), err.decode())


async def bench(*argv: str) -> Done:
    return await end_of(await start(*argv))


async def test_ctrl_c_prints_the_report_so_far(tmp_path: Path) -> None:
    numbers = count()

    def reply(_: dict[str, Any]) -> Answer:
        return spoken((0.0, 0.5)) if next(numbers) < 6 else spoken((60.0, 0.5))

    async with raw_server(reply) as server:
        path = tmp_path / "report.json"
        process = await start(server.url, "--concurrency", "2,4", "--requests", "50", "--json", str(path))
        assert await becomes_true(lambda: server.running == 2 and len(server.asked) == 8, 60)
        process.send_signal(signal.SIGINT)
        done = await end_of(process)
    assert done.code == ExitCode.UNFINISHED
    assert "stopped early" in done.out
    assert "TTFA ms" in done.out
    assert "Traceback" not in done.err
    level = json.loads(path.read_bytes())["levels"][0]
    # Two of the good answers were the first request, which detects the dialect, and the warm-up.
    assert level["outcomes"] == {"ok": 4, "cancelled": 2}


async def test_a_run_with_answers_is_a_success_and_keeps_its_key_to_itself(tmp_path: Path) -> None:
    async with raw_server(lambda _: spoken((0.0, 0.5))) as server:
        files = ("--json", str(tmp_path / "r.json"), "--plot", str(tmp_path / "r.svg"))
        done = await bench(server.url, "--requests", "3", *files)
    assert done.code == 0, done.err
    assert set(server.keys) == {f"Bearer {KEY}"}
    written = (tmp_path / "r.json").read_text() + (tmp_path / "r.svg").read_text()
    assert KEY not in done.out + done.err + written


async def test_a_run_without_an_answer_fails() -> None:
    async with raw_server(lambda _: refusal(503, "draining")) as server:
        done = await bench(server.url, "--requests", "2", "--warmup", "0")
    assert (done.code, "draining" in done.out) == (ExitCode.FAULT, True)


async def test_an_unreachable_server_is_a_one_line_error() -> None:
    done = await bench("http://127.0.0.1:9")
    assert done.code == ExitCode.FAULT
    assert done.err.strip().splitlines() == [done.err.strip()]
    assert "nothing answers at 127.0.0.1:9" in done.err


async def test_a_wrong_key_is_an_error_before_the_measurement(checkpoint: Path) -> None:
    service = make_service(checkpoint, server={"api_keys": (SecretStr("another-key-0123"),)})
    async with serving(create_app(service), service.settings.server) as port:
        done = await bench(f"http://127.0.0.1:{port}")
    assert done.code == ExitCode.USAGE
    assert "rejects the API key" in done.err
    assert KEY not in done.err + done.out


@pytest.mark.parametrize("dialect", ["openai", "dashscope", "union"])
async def test_our_own_server_is_measured_in_each_dialect(checkpoint: Path, dialect: str) -> None:
    service = make_service(checkpoint, server={"dialect": dialect})
    async with serving(create_app(service), ServerSettings()) as port:
        given = (
            "--requests",
            "6",
            "--concurrency",
            "2",
            "--start-buffer-ms",
            "2000",
            "--input",
            "text,image",
        )
        done = await bench(f"http://127.0.0.1:{port}", *given)
    assert done.code == 0, done.out + done.err
    row = next(line.split() for line in done.out.splitlines() if line.startswith("2 "))
    assert row[1:6] == ["6", "6", "6", "0", "0"]
    assert "echo at http://" in done.out
