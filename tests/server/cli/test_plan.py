"""`antiphon plan`: how much memory a model takes and whether it fits, without loading it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from antiphon_server.cli.machine_checks.machine import usable_cores, usable_memory_bytes
from antiphon_server.cli.main import main
from antiphon_server.cli.plan import read_size
from antiphon_server.exits import ExitCode
from tests.checkpoints import tiny_qwen3_5_omni  # noqa: F401

# The planner loads torch.
pytestmark = pytest.mark.heavy


@pytest.mark.parametrize(
    ("text", "size"),
    [("80GiB", 80 << 30), ("80GB", 80_000_000_000), ("512 MiB", 512 << 20), ("1.5g", 1_500_000_000)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "80", "GiB", "-1GiB", "80 parsecs"])
def test_an_invalid_size_is_rejected(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - argparse says which flag
        read_size(text)


def test_a_model_that_fits_is_shown_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--sizes", "published", "--tier", "flash", "--gpu-memory", "80GiB"]) == 0
    out = capsys.readouterr().out
    assert "thinker   GPU 0,1" in out
    assert "a request of 262,144 tokens" in out
    assert out.rstrip().endswith("it fits")


def test_a_shortage_is_reported_with_its_size(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["plan", "--sizes", "published", "--tier", "flash", "--gpu-memory", "40GiB", "--json"])
    plan = json.loads(capsys.readouterr().out)
    assert (code, plan["fits"], plan["contexts"]) == (1, False, 0)
    assert plan["shortages"][0].startswith("thinker: weights")


def test_a_checkpoint_is_planned_by_its_config_alone(
    tiny_qwen3_5_omni: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "config.json").write_bytes((tiny_qwen3_5_omni / "config.json").read_bytes())
    assert main(["plan", str(tmp_path), "--tier", "nano", "--memory", "6GiB"]) == 0
    assert "thinker   CPU" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("machine", "hour", "streams"), [(("--gpu-memory", "80GiB"), 8.0, 32), (("--memory", "9GiB"), 4.0, 32)]
)
def test_a_price_becomes_a_cost_per_hour_of_speech(
    capsys: pytest.CaptureFixture[str], machine: tuple[str, str], hour: float, streams: int
) -> None:
    asked = ["plan", "--sizes", "published", *machine, "--streams", str(streams), "--gpu-hour", "4"]
    asked += ["--tier", "flash"] if "--gpu-memory" in machine else []
    main([*asked, "--json"])
    cost = json.loads(capsys.readouterr().out)["cost"]
    assert cost == {"hour": hour, "hour_of_speech": hour / streams, "streams": streams}
    main(asked)
    assert f"{hour:.2f} an hour; at least {hour / streams:.4f} per hour of speech" in capsys.readouterr().out


def test_a_missing_config_has_its_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(tmp_path), "--memory", "6GiB"]) == ExitCode.NO_MODEL
    assert "no config.json" in capsys.readouterr().err


def test_an_unknown_family_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "whale"}')
    assert main(["plan", str(tmp_path), "--memory", "6GiB"]) == ExitCode.UNSUPPORTED_MODEL
    assert "'whale'" in capsys.readouterr().err


def test_two_kinds_of_memory_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plan", "--sizes", "published", "--gpu-memory", "80GiB", "--memory", "8GiB"])
    assert "--gpu-memory 80GiB or --memory 8GiB" in capsys.readouterr().err


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a driver's tool on the PATH that prints the given lines, or fails without any."""

    def install(lines: str) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{f'echo {shlex.quote(lines)}' if lines else 'exit 9'}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return install


def test_without_a_memory_flag_it_plans_for_the_gpus_of_this_machine(
    nvidia_smi: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    nvidia_smi("NVIDIA H200, 143771, 580.1, 9.0\nNVIDIA H200, 143771, 580.1, 9.0")
    assert main(["plan", "--sizes", "published", "--tier", "flash"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("assumed: this machine's 2 x NVIDIA H200, 140.4 GiB each; ")
    assert "thinker   GPU 0,1" in out


def test_gpus_that_this_machine_does_not_have_are_a_shortage(
    nvidia_smi: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    nvidia_smi("NVIDIA H200, 143771, 580.1, 9.0")
    assert main(["plan", "--sizes", "published", "--tier", "flash"]) == 1
    assert "short: GPU 1 needed, this machine has 1" in capsys.readouterr().out


@pytest.mark.parametrize("lines", ["", "NVIDIA GB10, [N/A], 580.1, 12.1"])
def test_without_gpu_memory_it_plans_for_the_memory_and_cores_of_this_machine(
    nvidia_smi: Callable[[str], None], capsys: pytest.CaptureFixture[str], lines: str
) -> None:
    nvidia_smi(lines)
    code = main(["plan", "--tier", "nano", "--json"])
    plan = json.loads(capsys.readouterr().out)
    assert code == int(not plan["fits"])
    assert plan["memory_bytes"] == usable_memory_bytes()
    assert plan["assumed"].startswith("this machine's CPU, ")
    assert plan["assumed"].endswith(f"{usable_cores()} cores")


def test_the_plan_answers_an_operator_and_draws_a_map(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "map.svg"
    flags = ["--sizes", "published", "--tier", "flash", "--gpu-memory", "80GiB", "--prefill-rate", "5000"]
    assert main(["plan", *flags, "--plot", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "requests at once, of 4,096 tokens: " in out
    assert "262,144 tokens (the model's context), so 10 h " in out
    assert "prefill: 4,096 tokens: 1 s; 32,768 tokens: 7 s; 262,144 tokens: 52 s" in out
    assert "server: at most " in out
    assert picture.read_text().startswith("<svg")
    assert main(["plan", *flags, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["outlook"]["rows"][2]["requests"] == plan["contexts"] == 4
    assert (
        plan["engines"][0]["blocks"] * plan["engines"][0]["block_bytes"] <= plan["engines"][0]["cache_bytes"]
    )
    assert plan["host_bytes"]["decoded media and features"] >= 4 << 30


def test_a_picture_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--sizes", "published", "--tier", "flash", "--gpu-memory", "80GiB"]
    code = main(["plan", *flags, "--plot", str(tmp_path / "missing" / "map.svg")])
    assert code == ExitCode.BAD_CONFIG
    assert "the picture cannot be written" in capsys.readouterr().err
