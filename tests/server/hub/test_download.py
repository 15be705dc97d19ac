"""A model by its name: from the cache, or downloaded; every failure is one line with a hint."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from antiphon_server.cli.machine_checks.model_check import find_model
from antiphon_server.cli.main import main
from antiphon_server.config.sources import load
from antiphon_server.exits import ExitCode, StartupError
from antiphon_server.hub import download
from antiphon_server.hub.model_name import hub_name
from antiphon_server.hub.progress import DownloadProgress
from antiphon_server.process.model_source import with_local_model
from antiphon_server.process.preflight import check_checkpoint
from tests.checkpoints import released_qwen3_omni  # noqa: F401
from tests.hub_stand_in import COMMIT, StandIn, running_hub
from tests.machine import Patience

NAME = "Qwen/Tiny-Omni"
KIND = "Qwen3OmniMoeForConditionalGeneration"
SHARDS = [f"model-0000{number}-of-00004.safetensors" for number in range(1, 5)]
UNNEEDED = ("README.md", ".gitattributes", "pytorch_model.bin", "consolidated.safetensors", "gguf/model.gguf")


@pytest.fixture
def hub(
    released_qwen3_omni: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[StandIn]:
    """A hub with one model, and an empty cache."""
    model = shutil.copytree(released_qwen3_omni, tmp_path / "model")
    for name in UNNEEDED:
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_bytes(b"0" * 100)
    with running_hub(StandIn({NAME: model})) as running:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, running.url)
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield running


def fetch(name: str = NAME, **more: str) -> Path:
    settings = load(
        {"engine.model": name, **{f"engine.{key}": value for key, value in more.items()}}
    ).settings
    return with_local_model(settings).engine.model


def problem_of(code: ExitCode = ExitCode.NO_MODEL, name: str = NAME, **more: str) -> str:
    with pytest.raises(StartupError) as raised:
        fetch(name, **more)
    assert raised.value.code == code
    said = str(raised.value)
    assert len(said.splitlines()) == 2
    return said


def test_a_model_is_downloaded_once_and_keeps_its_name(hub: StandIn) -> None:
    settings = with_local_model(load({"engine.model": NAME}).settings)
    folder = settings.engine.model
    assert settings.engine.served_model_name == NAME
    check_checkpoint(folder, speaks=True)
    for file in hub.models[NAME].iterdir():
        if file.is_file() and file.name not in UNNEEDED:
            assert (folder / file.name).read_bytes() == file.read_bytes()
    hub.got.clear()
    assert fetch() == folder
    assert hub.got == []


def test_only_the_files_that_are_needed_are_downloaded(hub: StandIn) -> None:
    folder = fetch()
    assert not [name for name in UNNEEDED if (folder / name).exists()]
    assert set(SHARDS) <= set(hub.got)
    assert not set(hub.got) & {Path(name).name for name in UNNEEDED}


def test_a_name_given_by_the_operator_is_kept(hub: StandIn) -> None:
    given = load({"engine.model": NAME, "engine.served_model_name": "omni"}).settings
    assert with_local_model(given).engine.served_model_name == "omni"


def test_flag_variable_and_file_take_a_name(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fetch()
    (tmp_path / "settings.yaml").write_text(f"engine: {{model: {NAME}, revision: {COMMIT}}}\n")
    assert with_local_model(load({}, tmp_path / "settings.yaml").settings).engine.model == folder
    monkeypatch.setenv("ANTIPHON_MODEL", NAME)
    assert with_local_model(load({}).settings).engine.model == folder
    monkeypatch.setenv("ANTIPHON_REVISION", "no-such-branch")
    with pytest.raises(StartupError, match="has no revision 'no-such-branch'"):
        with_local_model(load({}).settings)


def test_an_interrupted_download_continues(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    real = huggingface_hub.snapshot_download

    def break_off(*args: Any, **more: Any) -> str:
        if SHARDS[0] in more["allow_patterns"]:
            real(*args, **{**more, "allow_patterns": SHARDS[:2]})
            raise ConnectionError("the line is dead")
        return real(*args, **more)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", break_off)
    assert f"{hub.url} is not reachable" in problem_of()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", real)
    hub.got.clear()
    check_checkpoint(fetch(), speaks=True)
    assert sorted(hub.got) == SHARDS[2:]


def test_a_connection_that_breaks_in_a_file_is_continued_there(hub: StandIn) -> None:
    hub.cut = SHARDS[3]
    folder = fetch()
    assert hub.got.count(SHARDS[3]) == 2
    assert (folder / SHARDS[3]).read_bytes() == (hub.models[NAME] / SHARDS[3]).read_bytes()


def test_an_interrupt_ends_it_at_once_and_leaves_no_partial_file(hub: StandIn, tmp_path: Path) -> None:
    """huggingface_hub's threads would go on to the end of their files."""
    hub.halt = SHARDS[2]
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "hub")}
    # A job in the background of a shell ignores SIGINT, and so would a process that tests start there.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "antiphon_server", "serve", NAME]
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    blobs = tmp_path / "hub" / "models--Qwen--Tiny-Omni" / "blobs"
    patience = Patience(60)
    while not (SHARDS[2] in hub.got and len(list(blobs.glob("*.incomplete"))) == 1):
        assert process.poll() is None
        assert not patience.is_over()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "antiphon: the download was interrupted; complete files are kept"
    assert list(blobs.glob("*.incomplete")) == []
    hub.halt = ""
    hub.got.clear()
    check_checkpoint(fetch(), speaks=True)
    assert hub.got == [SHARDS[2]]


def test_a_taken_port_is_found_before_the_download(hub: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert main(["serve", NAME, "--port", str(other.getsockname()[1])]) == ExitCode.PORT_BUSY
    assert hub.asked == []


def test_offline_the_cache_is_enough_if_it_is_complete(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in problem_of()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    folder = fetch()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert fetch() == folder
    assert hub.asked == []
    assert f"no complete model {NAME} of the revision 'nightly' in" in problem_of(revision="nightly")
    (folder / SHARDS[1]).unlink()
    missing = f"there is no folder {NAME}, and no complete model {NAME} in {constants.HF_HUB_CACHE}"
    assert f"{missing}: HF_HUB_OFFLINE is set" in problem_of()


def test_without_a_network_the_cache_is_enough(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch()
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(hub.url, "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    assert fetch() == folder
    (folder / SHARDS[0]).unlink()
    assert "http://127.0.0.1:9 is not reachable" in problem_of()


def test_an_unknown_name_is_neither_a_folder_nor_a_model(hub: StandIn) -> None:
    said = problem_of(name="Qwen/Tiny-Onmi")
    assert "there is no folder Qwen/Tiny-Onmi, and no public model of this name" in said


def test_a_gated_model_needs_a_token(hub: StandIn) -> None:
    hub.gated.add(NAME)
    said = problem_of()
    assert f"{NAME} is gated" in said
    assert f"{hub.url}/{NAME}, then set HF_TOKEN" in said


def test_a_hub_that_fails_is_named_with_its_answer(hub: StandIn) -> None:
    hub.status = 418
    assert f"{hub.url} answered 418 for {NAME}" in problem_of()


def test_space_is_checked_before_the_weights(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000_000))
    said = problem_of(ExitCode.NO_SPACE)
    assert f"{NAME} needs 0.0 GB more" in said
    assert "0.1 GB free" in said
    assert not set(hub.got) & set(SHARDS)


def test_a_full_disk_is_one_line(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    assert "is full" in problem_of(ExitCode.NO_SPACE)


def test_an_unsupported_model_is_refused_before_its_weights(hub: StandIn) -> None:
    config = {"architectures": ["WhaleForCausalLM"]}
    (hub.models[NAME] / "config.json").write_text(json.dumps(config))
    assert "the architecture WhaleForCausalLM is not supported" in problem_of(ExitCode.UNSUPPORTED_MODEL)
    assert not set(hub.got) & set(SHARDS)


def test_a_revision_of_a_folder_is_a_mistake(hub: StandIn) -> None:
    assert "a folder has no revisions" in problem_of(
        ExitCode.BAD_CONFIG, str(hub.models[NAME]), revision="main"
    )


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Qwen/Qwen3-Omni-30B-A3B-Instruct", "Qwen/Qwen3-Omni-30B-A3B-Instruct"),
        ("./Qwen/Model", None),
        ("../Qwen/Model", None),
        ("/models/Qwen", None),
        ("Qwen", None),
        ("a/b/c", None),
    ],
)
def test_names_are_told_from_folders(given: str, name: str | None) -> None:
    assert hub_name(load({"engine.model": given}).settings.engine.model) == name


def test_an_existing_folder_is_never_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Qwen/Model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert hub_name(Path("Qwen/Model")) is None


def test_plan_reads_only_the_configuration(hub: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", NAME, "--memory", "8GiB"]) == 0
    assert "fits" in capsys.readouterr().out
    assert set(hub.got) <= set(download.CONFIG_FILES)


def test_doctor_says_what_a_model_lacks(hub: StandIn) -> None:
    size = sum((hub.models[NAME] / shard).stat().st_size for shard in SHARDS)
    found = find_model(NAME, None)
    assert (found.verdict, found.detail) == ("ok", f"{NAME}: {size / 1e9:.1f} GB to download: {KIND}")
    assert not set(hub.got) & set(SHARDS)
    folder = fetch()
    assert find_model(NAME, None).detail == f"{NAME} is complete in {folder}: {KIND}"
    assert find_model(str(folder), None).detail == f"{folder} is complete: {KIND}"
    found = find_model("Qwen/Tiny-Onmi", None)
    assert (found.verdict, found.fix) == ("problem", "check the spelling; a private model needs HF_TOKEN")


def test_progress_is_plain_lines_in_a_log(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"0" * 500)
    log = io.StringIO()
    with DownloadProgress(log, line_s=0.05).watch(NAME, tmp_path, 2_000_000_000):
        with (tmp_path / "new.incomplete").open("wb") as growing:
            growing.truncate(1_000_000_000)
        while "50 %" not in log.getvalue():
            pass
        with (tmp_path / "new.incomplete").open("ab") as growing:
            growing.truncate(2_000_000_000)
    lines = log.getvalue().splitlines()
    assert lines[0] == f"downloading {NAME}: 2.0 GB"
    assert any(f"downloading {NAME}: 1.0 of 2.0 GB (50 %)" in line for line in lines)
    assert lines[-1].startswith(f"downloaded {NAME} in ")


def test_progress_is_a_bar_on_a_terminal(tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    with DownloadProgress(terminal).watch(NAME, tmp_path, 1_000):
        (tmp_path / "new").write_bytes(b"0" * 1_000)
    assert f"downloading {NAME}" in terminal.getvalue()
    assert "1.0/1.0 kB" in terminal.getvalue()
