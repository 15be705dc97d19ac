"""The real servers, each started once for all tests that use it, and the media that the tests send."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

from antiphon_executor.shipped import ANTIPHON_NANO
from tests.checkpoints import released_qwen3_omni, tiny_qwen3_5_omni, tiny_qwen3_omni  # noqa: F401
from tests.e2e.forked_server import forked
from tests.e2e.nan_weights import spoil
from tests.e2e.recordings import Recordings, make_recordings
from tests.e2e.server_process import COMPILE_FLAGS, Launch, RunningServer, spawned, start_server
from tests.hub_stand_in import StandIn, running_hub
from tests.niced import niced

StartServer = Callable[..., RunningServer]

AHEAD_S = 2.0
HUB_NAME = "Qwen/Tiny-Omni"
NANO, NANO_CONTEXT = "antiphon-nano", 262_144


@pytest.fixture(scope="session")
def recordings() -> Recordings:
    return make_recordings()


@pytest.fixture(scope="package")
def start(
    released_qwen3_omni: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StartServer]:
    """Starts a server with more flags; it ends behind the last test of this folder at the latest."""
    servers: list[RunningServer] = []

    def start_one(*flags: str, model: Path = released_qwen3_omni, launch: Launch = spawned) -> RunningServer:
        log = tmp_path_factory.mktemp("server") / "log"
        servers.append(start_server(model, log, *flags, launch=launch))
        return servers[-1]

    yield start_one
    for server in servers:
        server.end()


@pytest.fixture(scope="package")
def hub(released_qwen3_omni: Path) -> Iterator[StandIn]:  # noqa: F811
    """A stand-in of the Hugging Face hub that has the model of `served`."""
    with running_hub(StandIn({HUB_NAME: released_qwen3_omni})) as running:
        yield running


@pytest.fixture(scope="package")
def served(
    start: StartServer,
    hub: StandIn,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> RunningServer:
    """For tests that only talk to a server. The last tests of this folder end it and the next two.

    It downloads its model by name, and keeps it and the tokenizer in new caches.
    """
    if any("paced" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("compiling")
    caches = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_HUB_CACHE", str(caches / "hub"))
        patch.setenv("XDG_CACHE_HOME", str(caches))
        return start("--engine.restarts", "0", model=Path(HUB_NAME))


@pytest.fixture(scope="package")
def compiling(
    tiny_qwen3_omni: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`antiphon compile` for `paced` beside the tests of `served`, and the cache that it fills."""
    cache = tmp_path_factory.mktemp("compiled")
    # What vLLM has found out about our classes, with a process each that imports them.
    known = Path(os.environ.get("VLLM_CACHE_ROOT", Path.home() / ".cache/vllm")) / "modelinfos"
    if known.is_dir():
        shutil.copytree(known, cache / known.name)
    command = (sys.executable, "-m", "antiphon_server", "compile", str(tiny_qwen3_omni), *COMPILE_FLAGS)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VLLM_CACHE_ROOT": str(cache)}
    with (
        (cache / "log").open("wb") as log,
        subprocess.Popen(
            [*niced(5), *command],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        ) as process,
    ):
        yield process, cache
        process.terminate()


@pytest.fixture(scope="package")
def paced(
    start: StartServer,
    tiny_qwen3_omni: Path,  # noqa: F811
    compiling: tuple[subprocess.Popen[bytes], Path],
) -> RunningServer:
    """Its Thinker is compiled ahead, and its speech is at most AHEAD_S ahead of the client."""
    pace = ("--engine.talker.pace.park-s", str(AHEAD_S), "--server.limits.real-time")
    process, cache = compiling
    assert process.wait(800) == 0, (cache / "log").read_text(errors="replace")[-4_000:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CACHE_ROOT", str(cache))
        return start("--engine.restarts", "0", *pace, model=tiny_qwen3_omni)


@pytest.fixture(scope="package")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of tests/e2e/faults/sitecustomize.py for `faulty`."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="package")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for temporary files of `faulty`."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="package")
def faulty(
    start: StartServer,
    faults: Path,
    temporary: Path,
    released_qwen3_omni: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> RunningServer:
    """A few of its weights are no numbers; its engines are stopped, killed, hang and run out of memory."""
    checkpoint = shutil.copytree(released_qwen3_omni, tmp_path_factory.mktemp("faulty") / "omni")
    spoil(checkpoint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        patch.setenv("PYTHONPATH", str(Path(__file__).parent / "faults"))
        patch.setenv("ANTIPHON_TEST_FAULTS", str(faults))
        return start("--engine.hang-s", "10", model=checkpoint, launch=forked)


@pytest.fixture(scope="package")
def steady(start: StartServer, tiny_qwen3_5_omni: Path) -> RunningServer:  # noqa: F811
    flags = ("--engine.deterministic", "--max-model-len", "8192")
    return start(*flags, model=tiny_qwen3_5_omni, launch=forked)


@pytest.fixture(scope="package")
def nano_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The shipped antiphon-nano, with its whole context."""
    flags = ("--served-model-name", NANO, "--dtype", "auto", "--max-model-len", str(NANO_CONTEXT))
    flags += ("--media-audio-seconds", "1200")
    running = start_server(ANTIPHON_NANO, tmp_path_factory.mktemp("nano") / "log", *flags, launch=forked)
    yield running
    running.end()


@pytest.fixture(autouse=True)
def renewed_servers(request: pytest.FixtureRequest) -> None:
    """A test that ends its server, or kills its engines, is repeated with another (`--repeat`)."""
    if request.config.getoption("repeat") > 1:
        for value in [*request.node.funcargs.values()]:
            if isinstance(value, RunningServer):
                value.renew()


@pytest.fixture(scope="package")
def client(served: RunningServer) -> openai.OpenAI:
    return served.client()
