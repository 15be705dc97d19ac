"""A start that fails or is cancelled at any step leaves no engine, task, socket or folder behind."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
import zmq
from vllm.engine.arg_utils import AsyncEngineArgs

from antiphon_executor.engine import launch as launch_module
from antiphon_executor.engine import omni_engine as engine_module
from antiphon_executor.engine.launch import Launcher, StageSpec
from antiphon_executor.engine.omni_engine import start_engine
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.ipc.bridge import Bridge, SocketFolder
from antiphon_executor.stages import stage as stage_module
from antiphon_executor.stages.metrics import StageMetrics
from antiphon_executor.stages.stage import Stage, start_stage
from antiphon_executor.stages.supervisor import end_all
from tests.checkpoints import tiny_qwen3_omni  # noqa: F401


class ScriptedStage(Stage):
    """Loads at once. It has no engine: who asks for one gets an AttributeError."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ended = False

    @property
    def alive(self) -> bool:
        return not self.ended

    async def end(self) -> None:
        self.ended = True


class Starts:
    """In place of `start_stage`: scripted stages by name, some of which never come, or fail."""

    def __init__(self) -> None:
        self.stages: list[ScriptedStage] = []
        self.heard: dict[str, Callable[[], bool]] = {}
        self.hanging: set[str] = set()
        self.failing: set[str] = set()
        self.begun = asyncio.Event()

    async def start(self, name: str, _: Any, __: Any, is_reading: Callable[[], bool]) -> ScriptedStage:
        self.heard[name] = is_reading
        if name in self.failing:
            raise RuntimeError("no memory left")
        if name in self.hanging:
            self.begun.set()
            await asyncio.Event().wait()
        self.stages.append(ScriptedStage(name))
        return self.stages[-1]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the socket folder is made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Starts:
    scripted = Starts()
    monkeypatch.setattr(launch_module, "start_stage", scripted.start)
    monkeypatch.setattr(launch_module, "prepare_environment", lambda *_, **__: None)
    monkeypatch.setattr(engine_module, "adopt_children", lambda: None)
    return scripted


@pytest_asyncio.fixture
async def earlier_tasks() -> set[asyncio.Task[Any]]:
    """The loop is the session's: engines that serve other tests may be running in it."""
    return asyncio.all_tasks()


def bridge_tasks_since(earlier: set[asyncio.Task[Any]]) -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() - earlier if task.get_name().startswith("bridge")]


async def test_a_start_that_fails_after_the_engines_ends_both_and_removes_the_socket_folder(
    starts: Starts,
    temporary: Path,
    tiny_qwen3_omni: Path,  # noqa: F811
    earlier_tasks: set[asyncio.Task[Any]],
) -> None:
    """The engine's constructor asks the stages for what these do not have."""
    with pytest.raises(AttributeError):
        await start_engine(EngineSettings(model=tiny_qwen3_omni), lambda _: None)
    assert [stage.name for stage in starts.stages if stage.ended] == ["thinker", "talker"]
    assert list(temporary.glob("antiphon-*")) == []  # noqa: ASYNC240
    assert bridge_tasks_since(earlier_tasks) == []


@pytest.mark.parametrize("ends_by", ["failure", "cancellation"])
async def test_a_start_that_ends_while_one_engine_loads_ends_the_other(
    starts: Starts,
    temporary: Path,
    tiny_qwen3_omni: Path,  # noqa: F811
    earlier_tasks: set[asyncio.Task[Any]],
    ends_by: str,
) -> None:
    settings = EngineSettings(model=tiny_qwen3_omni)
    if ends_by == "failure":
        starts.failing = {"talker"}
        with pytest.raises(RuntimeError, match="no memory left"):
            await start_engine(settings, lambda _: None)
    else:
        starts.hanging = {"talker"}
        starting = asyncio.create_task(start_engine(settings, lambda _: None))
        await starts.begun.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    assert [stage.ended for stage in starts.stages] == [True]
    assert list(temporary.glob("antiphon-*")) == []  # noqa: ASYNC240
    assert bridge_tasks_since(earlier_tasks) == []


class LoadedEngine:
    """What `AsyncLLM.from_engine_args` gives; loading takes until `go`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.loading = threading.Event()
        self.down = threading.Event()

    def load(self, *_: Any, **__: Any) -> LoadedEngine:
        self.loading.set()
        self.go.wait(60)
        return self

    def shutdown(self) -> None:
        self.down.set()


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoadedEngine]:
    engine = LoadedEngine()
    monkeypatch.setattr(stage_module, "AsyncLLM", SimpleNamespace(from_engine_args=engine.load))
    yield engine
    engine.go.set()


async def test_an_engine_that_has_loaded_after_its_start_was_cancelled_is_ended(loaded: LoadedEngine) -> None:
    """The thread that loads it cannot be stopped; its result once had no owner."""
    starting = asyncio.create_task(start_stage("talker", AsyncEngineArgs(), lambda _: None))
    await asyncio.to_thread(loaded.loading.wait, 60)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not loaded.down.is_set()
    loaded.go.set()
    assert await asyncio.to_thread(loaded.down.wait, 60)


async def test_an_engine_that_had_loaded_as_its_start_was_cancelled_is_ended(loaded: LoadedEngine) -> None:
    loaded.go.set()
    starting = asyncio.create_task(start_stage("talker", AsyncEngineArgs(), lambda _: None))
    await asyncio.sleep(0)
    loaded.loading.wait(60)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert await asyncio.to_thread(loaded.down.wait, 60)


async def test_an_engine_that_loads_and_never_answers_is_a_failed_start(
    loaded: LoadedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(method: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(stage_module, "_FIRST_ANSWER_S", 0.1)
    monkeypatch.setattr(loaded, "collective_rpc", never, raising=False)
    loaded.go.set()
    with pytest.raises(RuntimeError, match="the talker engine has loaded but does not answer"):
        await asyncio.wait_for(start_stage("talker", AsyncEngineArgs(), lambda _: None), 60)
    assert loaded.down.is_set()


async def test_an_error_while_ending_one_engine_does_not_keep_another_alive() -> None:
    class Stubborn(ScriptedStage):
        async def end(self) -> None:
            raise RuntimeError("the process is gone")

    other = ScriptedStage("talker")
    await end_all([Stubborn("thinker"), other])
    assert other.ended


async def test_a_stage_that_started_as_the_start_was_cancelled_is_ended(starts: Starts) -> None:
    """Its result is there when the cancellation arrives, in a gathering that is given up."""
    starts.hanging = {"talker"}
    planned = [StageSpec("thinker", AsyncEngineArgs(), None), StageSpec("talker", AsyncEngineArgs(), None)]
    folder = SocketFolder()
    async with Bridge(folder) as bridge:
        starting = asyncio.create_task(Launcher(lambda _: None, bridge).start_all(planned))
        await starts.begun.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    folder.close()
    assert [stage.ended for stage in starts.stages] == [True]


@pytest.mark.parametrize(("on_a_cpu", "at_once"), [(True, 2), (False, 1)])
async def test_engines_load_at_the_same_time_on_a_cpu_and_one_after_the_other_on_a_gpu(
    starts: Starts, monkeypatch: pytest.MonkeyPatch, on_a_cpu: bool, at_once: int
) -> None:
    """On one GPU both would count each other's memory as their own."""
    loading, most = 0, 0

    async def load(*_: Any) -> ScriptedStage:
        nonlocal loading, most
        loading += 1
        most = max(most, loading)
        await asyncio.sleep(0.01)
        loading -= 1
        return ScriptedStage("any")

    monkeypatch.setattr(launch_module, "start_stage", load)
    monkeypatch.setattr(launch_module.current_platform, "is_cpu", lambda: on_a_cpu)
    planned = [StageSpec("thinker", AsyncEngineArgs(), None), StageSpec("talker", AsyncEngineArgs(), None)]
    folder = SocketFolder()
    async with Bridge(folder) as bridge:
        stages = await Launcher(lambda _: None, bridge).start_all(planned)
    folder.close()
    assert (len(stages), most) == (2, at_once)


async def test_a_bridge_that_cannot_open_leaves_no_socket_behind(
    temporary: Path, earlier_tasks: set[asyncio.Task[Any]]
) -> None:
    """Its folder is gone: nothing can be bound in there."""
    folder = SocketFolder()
    folder.close()
    bridge = Bridge(folder)
    with pytest.raises(zmq.ZMQError):
        await bridge.__aenter__()
    assert bridge.closed
    assert bridge_tasks_since(earlier_tasks) == []


async def test_a_stage_is_alive_only_while_what_it_sends_is_read(starts: Starts, temporary: Path) -> None:
    """Reading of its socket once ended silently, and its streams waited without end."""
    folder = SocketFolder()
    async with Bridge(folder) as bridge:
        launch, plan = Launcher(lambda _: None, bridge), StageSpec("talker", AsyncEngineArgs(), None)
        await launch.start(plan)
        llm: Any = SimpleNamespace(errored=False)
        stage = Stage("talker", llm, StageMetrics("talker"), starts.heard["talker"])
        assert stage.alive
        await asyncio.sleep(0)
        bridge._readers["talker"]._socket.close(linger=0)
        async with asyncio.timeout(60):
            while stage.alive:  # noqa: ASYNC110 - nothing here tells
                await asyncio.sleep(0.01)
        await launch.start(plan)
        assert stage.alive
    folder.close()
