"""The command: lazy imports, help on a screen, and one line and an exit code for each start that fails."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import pytest

from antiphon_server.cli import main as cli
from antiphon_server.config.flags import setting_fields
from antiphon_server.exits import MEANING, ExitCode, StartupError
from antiphon_server.media.sandbox.layers import REQUIRED
from antiphon_server.process.checkpoint_config import required_tensors

pytestmark = pytest.mark.promise("R27", "R2")

KEY = "canary-key-55aa"


Done = subprocess.CompletedProcess[str]


def process(*argv: str) -> Done:
    """Run the command as a process."""
    command = [sys.executable, "-m", "antiphon_server", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def antiphon(*argv: str, env: Mapping[str, str] | None = None) -> Done:
    """Run the command in this process, without the developer's own ANTIPHON_ variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANTIPHON_")}
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, {**clean, **(env or {})}, clear=True),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            code = cli.main(argv)
        except SystemExit as exit_:
            code = int(exit_.code or 0)
    return Done(argv, code, out.getvalue(), err.getvalue())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that passes the checks made before anything is loaded."""
    folder = tmp_path / "model"
    folder.mkdir()
    config = {
        "architectures": ["Qwen3OmniMoeForConditionalGeneration"],
        "model_type": "qwen3_omni_moe",
        "talker_config": {"codec_eos_token_id": 1},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tensor = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps(dict.fromkeys(required_tensors(config, speaks=True), tensor))
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode())
    return folder


ENGINE = ("torch", "vllm", "transformers")
SERVER = (*ENGINE, "fastapi", "starlette", "uvicorn", "httpx", "numpy", "PIL")
SETTINGS = (*SERVER, "asyncio", "pydantic", "pydantic_settings", "yaml", "rich", "shtab")


@pytest.mark.parametrize(
    ("argv", "unwanted"),
    [
        (["--help"], (*SETTINGS, "argparse", "importlib.metadata")),
        (["--version"], SETTINGS),
        (["tiny", "--help"], SETTINGS),
        (["doctor", "--help"], SETTINGS),
        (["sample", "--help"], SETTINGS),
        (["completion", "--help"], SETTINGS),
        (["serve", "--help"], SERVER),
        (["serve", "--help-all"], SERVER),
        (["plan", "--help"], SERVER),
        (["config", "--help"], SERVER),
        (["config", "schema"], SERVER),
        (["serve", "/nowhere"], (*ENGINE, "fastapi", "uvicorn")),
        (["doctor"], (*ENGINE, "fastapi")),
        (["sample", "/dev/null/no"], SERVER),
        (["chat", "--help"], SETTINGS),
        (["say", "--help"], SETTINGS),
        (["transcribe", "--help"], SETTINGS),
        (["chat", "--url", "http://127.0.0.1:9", "hello"], (*ENGINE, "fastapi", "uvicorn")),
        (["bench", "--help"], SETTINGS),
        (["bench", "http://127.0.0.1:9"], (*ENGINE, "fastapi", "uvicorn")),
    ],
    ids=" ".join,
)
@pytest.mark.heavy
def test_a_command_imports_only_what_it_needs(argv: list[str], unwanted: tuple[str, ...]) -> None:
    """It keeps each `--help` under half a second; seconds depend on the machine's load, modules do not."""
    script = (
        "import sys\nfrom antiphon_server.cli.main import main\n"
        f"try:\n    main({argv!r})\nexcept SystemExit:\n    pass\n"
        f"print('imported', [name for name in {unwanted!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines()[-1] == "imported []", done.stdout + done.stderr


def test_the_help_of_serve_fits_a_screen_and_the_rest_is_a_flag_away() -> None:
    with mock.patch.dict(os.environ, {"COLUMNS": "80"}):
        brief = antiphon("serve", "--help").stdout.splitlines()
    assert len(brief) <= 40
    assert max(map(len, brief)) <= 80
    for flag in ("--help-all", "--port PORT", "--tier {plus,flash,light,nano}", "--[no-]enforce-eager"):
        assert any(flag in line for line in brief), flag
    assert not any("--server." in line for line in brief)
    full = antiphon("serve", "--help-all").stdout
    names = {f"--{field.name.replace('_', '-')}" for field in setting_fields() if not field.is_secret}
    missing = {name for name in names if name not in full and name.replace("--", "--[no-]", 1) not in full}
    assert not missing
    for field in setting_fields():
        assert field.field.description, field.name


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_a_parser_and_its_help(command: str) -> None:
    assert cli.load_command(command).make_parser().prog == f"antiphon {command}"
    done = antiphon(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: antiphon {command}")
    assert f"  {command} " in antiphon("--help").stdout


@pytest.mark.parametrize(
    "argv", [("--help",), ("completion", "bash"), ("config", "show"), ("bench", "--help")], ids=" ".join
)
@pytest.mark.heavy
def test_a_closed_pipe_ends_a_command_without_a_traceback(argv: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as out:
        command = [sys.executable, "-m", "antiphon_server", *argv]
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.stderr == b""
    # argparse ignores the error when it prints a help text.
    assert done.returncode == (ExitCode.OK if "bench" in argv else cli.CLOSED_PIPE)


def test_a_broken_connection_is_not_taken_for_a_closed_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: object) -> int:
        raise BrokenPipeError

    monkeypatch.setattr(cli, "_run", failing)
    with Path(os.devnull).open("w") as out, redirect_stdout(out), pytest.raises(BrokenPipeError):
        cli.main([])


@pytest.mark.heavy
def test_the_server_never_imports_torch_or_vllm() -> None:
    heavy = ("torch", "vllm", "transformers")
    script = f"import sys, antiphon_server.process.serve; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def refused(done: Done, code: ExitCode, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[0].startswith("antiphon")
    assert len(lines) <= 2
    assert len(lines) == 1 or lines[1].startswith("  hint: ")
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


def test_an_unknown_command_suggests_the_closest_one() -> None:
    refused(antiphon("sevre"), ExitCode.USAGE, "did you mean 'antiphon serve'?")


def test_an_unknown_flag_suggests_the_closest_one(model: Path) -> None:
    refused(antiphon("serve", str(model), "--prot", "1"), ExitCode.USAGE, "--prot", "did you mean --port?")


def test_a_missing_model_has_its_exit_code() -> None:
    refused(process("serve", "Qwen/Qwen3-Omni"), ExitCode.NO_MODEL, "Qwen/Qwen3-Omni", "download")


def test_a_folder_without_a_checkpoint_has_its_exit_code(tmp_path: Path) -> None:
    refused(antiphon("serve", str(tmp_path)), ExitCode.NOT_A_CHECKPOINT, "config.json")


def test_a_checkpoint_without_weights_has_its_exit_code(model: Path) -> None:
    (model / "model.safetensors").unlink()
    refused(antiphon("serve", str(model)), ExitCode.NOT_A_CHECKPOINT, "safetensors")


@pytest.mark.parametrize("text", ["{", "[]", '{"architectures": []}', '{"architectures": [3]}', "\xff"])
def test_a_broken_config_has_its_exit_code(model: Path, text: str) -> None:
    (model / "config.json").write_text(text, encoding="latin-1")
    refused(antiphon("serve", str(model)), ExitCode.NOT_A_CHECKPOINT, "config.json")


@pytest.mark.parametrize(
    ("architecture", "hint"),
    [
        (
            "Qwen3OmniForConditionalGeneration",
            "did you mean a checkpoint of Qwen3OmniMoeForConditionalGeneration?",
        ),
        ("BertModel", "supported: Qwen3OmniMoeForConditionalGeneration"),
    ],
)
def test_an_unsupported_architecture_has_its_exit_code(model: Path, architecture: str, hint: str) -> None:
    (model / "config.json").write_text(json.dumps({"architectures": [architecture]}), encoding="utf-8")
    refused(antiphon("serve", str(model)), ExitCode.UNSUPPORTED_MODEL, architecture, hint)


def test_an_invalid_setting_is_reported_with_its_origin(model: Path) -> None:
    done = antiphon("serve", str(model), env={"ANTIPHON_PORT": "-1"})
    refused(done, ExitCode.BAD_CONFIG, "server.port", "ANTIPHON_PORT")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.invalid"])
def test_a_public_address_needs_a_key(model: Path, host: str) -> None:
    refused(antiphon("serve", str(model), "--host", host), ExitCode.INSECURE, host, "--insecure")


def test_an_address_of_another_machine_is_rejected(model: Path) -> None:
    done = antiphon("serve", str(model), "--host", "203.0.113.7", "--insecure")
    refused(done, ExitCode.BAD_CONFIG, "203.0.113.7")


def test_a_port_in_use_is_reported_with_another_to_try(model: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused(process("serve", str(model), "--port", str(port)), ExitCode.PORT_BUSY, str(port), "--port")


def test_too_little_disk_space_has_its_exit_code(model: Path) -> None:
    done = antiphon("serve", str(model), "--server.limits.free-disk-bytes", str(1 << 60))
    refused(done, ExitCode.NO_SPACE, "MiB", "TMPDIR")


def test_an_old_python_has_its_exit_code() -> None:
    with pytest.raises(StartupError) as caught:
        cli.check_python((3, 9, 2))
    assert caught.value.code == ExitCode.WRONG_PYTHON
    assert "3.11" in str(caught.value)
    assert "3.9.2" in str(caught.value)


def test_a_key_is_never_printed(model: Path) -> None:
    env = {"ANTIPHON_API_KEY": f"{KEY} with a space"}
    done = antiphon("serve", str(model), env=env)
    refused(done, ExitCode.BAD_CONFIG, "API key")
    assert KEY not in done.stderr
    shown = antiphon("config", "show", "--origin", "--model", "/m", env={"ANTIPHON_API_KEY": KEY})
    assert shown.returncode == 0
    assert KEY not in shown.stdout + shown.stderr
    assert "ANTIPHON_API_KEY" in shown.stdout


def test_config_schema_is_json() -> None:
    assert "properties" in json.loads(antiphon("config", "schema").stdout)


def test_doctor_prints_json() -> None:
    findings = json.loads(antiphon("doctor", "--json", "--port", "0").stdout)["findings"]
    topics = {finding["topic"] for finding in findings}
    assert {"python", "vllm", "ffmpeg", "cores", "memory", "disk", "port", "gpu"} <= topics
    assert all(finding["fix"] for finding in findings if finding["verdict"] == "problem")


def test_doctor_names_the_layers_that_confine_media_decoders() -> None:
    findings = json.loads(antiphon("doctor", "--json", "--port", "0").stdout)["findings"]
    sandbox = [finding for finding in findings if finding["topic"] == "media sandbox"]
    assert sandbox[0]["verdict"] == "ok"
    for layer in REQUIRED:
        assert layer in sandbox[0]["detail"]
    assert all(finding["fix"] for finding in sandbox[1:])


def test_tiny_does_not_overwrite_files(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("", encoding="utf-8")
    refused(antiphon("tiny", str(tmp_path)), ExitCode.USAGE, "not an empty folder")


def test_every_exit_code_is_documented_in_the_help() -> None:
    text = antiphon("--help").stdout
    assert set(MEANING) == set(ExitCode)
    for code, meaning in MEANING.items():
        assert f"{code.value:>3}  {meaning}" in text


def test_ctrl_c_ends_a_command_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert cli.main([]) == cli.INTERRUPTED
