"""The environment of engines: a share of the cores, private sockets, and what the operator has set."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from vllm.distributed.kv_transfer.kv_connector.factory import KVConnectorFactory
from vllm.utils.network_utils import get_file_store_init_method

from antiphon_executor.ipc.environment import prepare_environment, visible_devices
from antiphon_executor.ipc.parent_watchdog import SERVER_PID
from antiphon_executor.models import registry


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OMP_NUM_THREADS",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
        "VLLM_CPU_OMP_THREADS_BIND",
        "VLLM_RPC_BASE_PATH",
        "CUDA_VISIBLE_DEVICES",
        "TORCH_COMPILE_DISABLE",
    ):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_given_a_cpu_then_two_engines_share_its_cores(tmp_path: Path) -> None:
    prepare_environment(tmp_path, on_cpu=True, streams=8)
    assert int(os.environ["OMP_NUM_THREADS"]) == max(1, len(os.sched_getaffinity(0)) // 2)
    assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert os.environ["VLLM_RPC_BASE_PATH"] == str(tmp_path)


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (8, 7)])
def test_given_one_engine_then_it_has_all_cores_but_the_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    prepare_environment(tmp_path, on_cpu=True, streams=8, engines=1)
    assert os.environ["OMP_NUM_THREADS"] == str(threads)


@pytest.mark.parametrize("compiled", [False, True])
def test_given_a_compiled_thinker_then_compilation_is_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    monkeypatch.delenv("TORCH_COMPILE_DISABLE", raising=False)
    prepare_environment(tmp_path, on_cpu=True, streams=8, compiled=compiled)
    assert os.environ.get("TORCH_COMPILE_DISABLE") == (None if compiled else "1")


def test_given_an_engines_process_then_its_temporary_files_are_in_the_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM leaves a file of each start in the folder for temporary files."""
    monkeypatch.setenv(SERVER_PID, str(os.getppid()))
    monkeypatch.setenv("VLLM_RPC_BASE_PATH", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(KVConnectorFactory, "_registry", {})
    # These are for a process that ends with its server.
    monkeypatch.setattr(registry, "watch_parent", lambda: None)
    monkeypatch.setattr(registry, "resume_collection", lambda: None)
    registry.register.__wrapped__()
    assert get_file_store_init_method().startswith(f"file://{tmp_path}/vllm_dist_")


@pytest.mark.parametrize(("streams", "kept"), [(1, 256), (8, 256), (16, 512)])
def test_given_a_cpu_then_as_many_compiled_operations_are_kept_as_the_largest_batch_needs(
    tmp_path: Path, streams: int, kept: int
) -> None:
    prepare_environment(tmp_path, on_cpu=True, streams=streams)
    assert int(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) == kept


def test_given_a_gpu_then_threads_are_left_alone(tmp_path: Path) -> None:
    prepare_environment(tmp_path, on_cpu=False, streams=8)
    assert "OMP_NUM_THREADS" not in os.environ


def test_given_variables_set_by_the_operator_then_they_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    prepare_environment(tmp_path, on_cpu=True, streams=8)
    assert os.environ["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize("before", [None, "3"])
def test_given_an_engine_with_its_own_gpus_then_others_see_all_gpus_again(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    with visible_devices("1,2"):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,2"
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == before
    with visible_devices(None):
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == before
