"""Two Ray Serve replicas: a session stays on its replica; one that is killed ends only its own streams.

`make ray` runs antiphon-nano; `run_replicas` any server that `command` starts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
from websockets.sync.client import connect

from tests.chaos.endings import ending_of, listen
from tests.chaos.proxy import free_port
from tests.chaos.questions import STREAMED
from tests.chaos.verdict import Verdict, broken
from tests.conformance.homes import RAY, ROOT
from tests.e2e.answers import said
from tests.e2e.server_process import MODEL, becomes

_READY_S = 300.0
_SESSIONS = 6
_REPLICA = "x-antiphon-replica"
_QUICK = {"model": MODEL, "messages": said("Say something."), "max_tokens": 4}
_SPOKEN = {"model": MODEL, "messages": said("Say something."), **STREAMED, "max_tokens": 12}
_SPOKEN_ANSWERS = 12
_LONG = {**_QUICK, "stream": True, "max_tokens": 160, "ignore_eos": True}


@contextmanager
def ray_serve(command: str, folder: Path) -> Iterator[str]:
    """Ray with two replicas of the server that `command` starts. Yields the URL of Ray's proxy."""
    RAY.install()
    port = free_port()
    python = str(RAY.folder / "bin/python")
    starting = f"""
import sys, time, ray
from ray import serve
sys.path.insert(0, {str(ROOT)!r})
from deploy.ray.antiphon_ray import build
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000, log_to_driver=True)
serve.start(http_options={{"host": "127.0.0.1", "port": {port}}})
serve.run(build({{"replicas": "2", "cpus": "0.5", "command": {command!r}}}))
print("serving", flush=True)
sys.stdin.read()
serve.shutdown()
ray.shutdown()
"""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
        # On busy cores a proxy needs more than the 5 s after which Ray counts a start as failed.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
        "OMP_NUM_THREADS": "1",
    }
    environment |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "RAY_TMPDIR": str(folder)}
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [python, "-c", starting],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        serving = becomes(
            lambda: b"serving\n" in log.read_bytes() or process.poll() is not None, _READY_S, 0.5
        )
        assert serving, log.read_text()[-3000:]
        assert process.poll() is None, log.read_text()[-3000:]
        yield f"http://127.0.0.1:{port}"
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(60)
        finally:
            for child in [psutil.Process(process.pid)] if process.poll() is None else []:
                for one in [*child.children(recursive=True), child]:
                    with contextlib.suppress(psutil.Error):
                        one.kill()


def ask(url: str, session: str) -> str:
    """The replica that has answered."""
    answer = httpx.post(
        f"{url}/v1/chat/completions", json=_QUICK, headers={"x-session-id": session}, timeout=120
    )
    answer.raise_for_status()
    return answer.headers[_REPLICA]


def stream(url: str, session: str, began: threading.Event) -> tuple[str, Any]:
    """The replica of a long stream, and how it ended."""
    headers = {"x-session-id": session}
    with httpx.stream(
        "POST", f"{url}/v1/chat/completions", json=_LONG, headers=headers, timeout=300
    ) as answer:
        lines = []
        for line in answer.iter_lines():
            if line.startswith("data: "):
                lines.append(line[6:])
            if len(lines) == 1:
                began.set()
        return answer.headers.get(_REPLICA, ""), ending_of(answer.status_code, lines)


def spoken_answers(url: str) -> Verdict:
    """How many the replicas give in a second: a figure, not judged."""
    began = time.monotonic()
    with ThreadPoolExecutor(_SESSIONS) as pool:
        endings = list(pool.map(lambda _: listen(url, _SPOKEN, timeout_s=300), range(_SPOKEN_ANSWERS)))
    took_s = time.monotonic() - began
    whole = sum(ending.is_whole for ending in endings)
    rate = (
        f"{whole} of {len(endings)} by {_SESSIONS} clients in {took_s:.1f} s, {whole / took_s:.2f} a second"
    )
    return Verdict("spoken answers are whole", whole == len(endings), rate)


def servers_of(command: str) -> list[psutil.Process]:
    """The processes that the replicas have started."""
    wanted = command.split()
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if line[: len(wanted)] == wanted and "--port" in line:
            found.append(process)
    return found


def run_replicas(command: str, folder: Path) -> list[Verdict]:
    with ray_serve(command, folder) as url:
        sessions = [f"session-{number}" for number in range(_SESSIONS)]
        homes = {session: {ask(url, session) for _ in range(4)} for session in sessions}
        stays = all(len(replicas) == 1 for replicas in homes.values())
        used = Counter(next(iter(replicas)) for replicas in homes.values())
        with connect(f"{url.replace('http', 'ws', 1)}/v1/realtime?model={MODEL}", open_timeout=60) as socket:
            opened = "session.created" in str(socket.recv(30))
        spoken = spoken_answers(url)
        with ThreadPoolExecutor(_SESSIONS) as pool:
            began = {session: threading.Event() for session in sessions}
            answers = {session: pool.submit(stream, url, session, began[session]) for session in sessions}
            assert all(event.wait(60) for event in began.values()), "a stream did not begin"
            victim = servers_of(command)[0]
            victim.send_signal(signal.SIGKILL)
            ended = [answer.result(300) for answer in answers.values()]
        lost = Counter(replica for replica, ending in ended if ending.errors)
        whole = Counter(replica for replica, ending in ended if ending.is_whole)
        clear = all(ending.is_one for _, ending in ended)

        def back() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return len({ask(url, f"again-{number}") for number in range(12)}) == 2
            return False

        returned = becomes(back, _READY_S, 1.0)
    return [
        Verdict(
            "a session stays on its replica",
            stays and len(used) == 2,
            f"{len(homes)} sessions on {len(used)}",
        ),
        spoken,
        Verdict("a WebSocket passes", opened, "opened" if opened else "not opened"),
        Verdict(
            "a killed replica ends its own streams, each with one error",
            clear and len(lost) == 1 and not set(lost) & set(whole) and bool(whole),
            f"{sum(lost.values())} ended with an error, {sum(whole.values())} whole",
        ),
        Verdict("it comes back", returned, "two replicas answer" if returned else "one is missing"),
    ]


def main() -> int:
    command = f"{sys.executable} -m antiphon_server serve --served-model-name {MODEL}"
    with TemporaryDirectory(prefix="ray") as folder:
        verdicts = run_replicas(command, Path(folder))
    print(*verdicts, sep="\n")
    return 1 if broken(verdicts) else 0


if __name__ == "__main__":
    raise SystemExit(main())
