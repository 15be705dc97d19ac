"""A small chaos run on the stand-in: `make chaos` in a minute, without vLLM.

Time limits are generous here; the full run has the real ones.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.chaos.client_kills import kill_clients
from tests.chaos.draining import QUESTION, Behind, drain_behind_nginx, pass_through
from tests.chaos.endings import listen
from tests.chaos.engine_deaths import kill_engines
from tests.chaos.proxy import HAPROXY, NGINX, behind_haproxy, behind_nginx
from tests.chaos.rolling import crash, roll
from tests.chaos.slow_readers import read_slowly
from tests.chaos.stand_in import engine_process, start_stand_in
from tests.chaos.verdict import broken
from tests.e2e.server_process import MODEL, RunningServer, becomes, terminate
from tests.machine import slowness
from tests.tiny_checkpoint import write_tiny_checkpoint

pytestmark = [pytest.mark.serial, pytest.mark.promise("R16", "R17", "R22", "R23", "R24", "R37")]

Start = Callable[..., RunningServer]
REALTIME = f"ws://{{}}/v1/realtime?model={MODEL}"
TURN = (
    {
        "type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
    },
    {"type": "response.create", "response": {"output_modalities": ["text"]}},
)
needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: nginx-light)")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts stand-ins, and ends those that a failing test left."""
    servers: list[RunningServer] = []
    checkpoint = write_tiny_checkpoint(tmp_path / "tokenizer")

    def start_one(*flags: str, **pace: float) -> RunningServer:
        servers.append(start_stand_in(checkpoint, tmp_path / f"log-{len(servers)}", *flags, **pace))  # type: ignore[arg-type]
        return servers[-1]

    yield start_one
    for server in servers:
        server.end()


def test_clients_that_leave_at_any_moment_leave_nothing_behind(start: Start) -> None:
    server = start()
    report = kill_clients(server, kills=60, batches=4, recordings=None)
    assert report.kills.total() == 60
    # Thread pools start threads on demand, so a short run says nothing about their number.
    verdicts = [one for one in report.verdicts(free_within_s=2.0) if one.promise != "threads do not grow"]
    assert broken(verdicts) == []
    assert len(report.endings) == 8


def test_engines_that_die_or_hang_end_each_stream_once_and_come_back(start: Start) -> None:
    server = start("--engine.hang-s", "0.5")
    report = kill_engines(server, 8, engine_process)
    assert broken(report.verdicts()) == []
    assert sum(ending.errors for ending in report.endings) >= 8
    assert terminate(server) == 0
    assert becomes(lambda: not server.survivors(), 5), server.survivors()


@pytest.mark.promise("R49")
def test_readiness_fails_within_five_seconds_if_an_engine_does_not_respond(start: Start) -> None:
    """The engine is not killed yet, and continues afterwards."""
    server = start("--engine.hang-s", "120")
    hit = engine_process(server, "thinker")
    hit.send_signal(signal.SIGSTOP)
    assert becomes(lambda: server.get("/readyz").status_code == 503, 6)
    hit.send_signal(signal.SIGCONT)
    assert becomes(lambda: server.get("/readyz").status_code == 200, 10)
    assert hit.is_running()


def test_whoever_reads_too_slowly_is_given_up_after_the_stated_time(start: Start) -> None:
    server = start("--server.timeouts.stalled-client-s", "2", step_s=0.0, sentences=400)
    ways = read_slowly(server)
    assert broken(verdict for way in ways for verdict in way.verdicts(2.0, spare_s=6.0)) == []


@needs_nginx
def test_nobody_behind_nginx_notices_that_a_server_is_told_to_stop(start: Start, tmp_path: Path) -> None:
    leaving, staying = start(), start()
    report = drain_behind_nginx(tmp_path / "nginx", leaving, staying)
    assert broken(report.verdicts()) == []
    assert min(len(report.before), len(report.during)) >= 4


@needs_nginx
@needs_haproxy
@pytest.mark.parametrize("behind", [behind_nginx, behind_haproxy], ids=["nginx", "haproxy"])
def test_a_stream_passes_a_proxy_unbuffered_and_keep_alives_fill_its_silence(
    start: Start, tmp_path: Path, behind: Behind
) -> None:
    """The proxy gives up after 2 s without a byte; the prompt takes 4 s."""
    patience = ("--chat.headers-s", "0.5", "--chat.silence-s", "0.5")
    server = start(*patience, prefill_s=4.0, step_s=0.05)
    report = pass_through(tmp_path / "proxy", server, 2, behind)
    assert broken(report.verdicts()) == []
    assert report.comments >= 4
    assert report.longest_silence_s < 1.5 * slowness()
    assert len(report.arrivals_s) > 20


@needs_nginx
@needs_haproxy
@pytest.mark.parametrize("behind", [behind_nginx, behind_haproxy], ids=["nginx", "haproxy"])
def test_a_conversation_passes_a_proxy(start: Start, tmp_path: Path, behind: Behind) -> None:
    server = start(sentences=1)
    with behind(tmp_path / "proxy", [server.port], 30) as url, connect(REALTIME.format(url[7:])) as socket:
        assert json.loads(socket.recv(10))["type"] == "session.created"
        for event in TURN:
            socket.send(json.dumps(event))
        types = [""]
        while types[-1] != "response.done":
            types.append(json.loads(socket.recv(20))["type"])
        assert types.count("response.output_text.delta") > 3


@needs_nginx
def test_a_rolling_change_of_two_servers_fails_no_request(start: Start, tmp_path: Path) -> None:
    servers = [start(sentences=2), start(sentences=2)]
    report = roll(tmp_path / "nginx", servers, 80, QUESTION)
    assert broken(report.verdicts()) == []
    assert (len(report.endings), report.spoken) == (80, 20)
    assert report.while_one_was_away >= 4


@pytest.mark.promise("R26")
def test_after_a_kill_a_server_starts_again_and_nothing_is_to_be_cleaned(
    start: Start, tmp_path: Path
) -> None:
    server = start("--files.folder", str(tmp_path / "files"))
    assert broken(crash(server, 3, lambda url: listen(url, QUESTION))) == []
