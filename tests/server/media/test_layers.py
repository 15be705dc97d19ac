"""Kernels that lack a sandbox layer: no start without a required one, a warning without an optional one."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon_server.exits import ExitCode
from antiphon_server.media.sandbox.layers import REQUIRED, Layer, Layers

LACKING = str(Path(__file__).with_name("lacking_layer.py"))
# The system call that makes the layer, on x86_64; its first argument, or -1 for any.
MAKES = {
    Layer.SECCOMP: (157, 22),
    Layer.LIMITS: (302, -1),
    Layer.CAPABILITIES: (126, -1),
    Layer.LANDLOCK: (444, -1),
    Layer.NETWORK: (272, -1),
}
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64"),
]


def told(layer: Layer, mode: str) -> str:
    command = [sys.executable, "-I", LACKING, *map(str, MAKES[layer]), mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("layer", [layer for layer in MAKES if layer in REQUIRED])
def test_no_start_without_a_required_layer(layer: Layer) -> None:
    said = told(layer, "strict")
    assert f"media decoders cannot be confined: not in force: {layer}" in said
    assert "--media-allow-weak-sandbox" in said
    assert "decoded" not in said


@pytest.mark.parametrize("layer", [layer for layer in MAKES if layer in REQUIRED])
def test_the_flag_starts_without_a_required_layer_and_warns(layer: Layer) -> None:
    said = told(layer, "weak")
    assert f"WARNING media decoders are not confined by: {layer}" in said
    assert "decoded (48, 64, 3)" in said


def test_each_decoder_probes_its_own_layers_and_refuses_to_work_without_a_required_one() -> None:
    said = told(Layer.SECCOMP, "unchecked")
    assert "refused to work without a required layer: seccomp" in said
    assert "decoded" not in said


@pytest.mark.parametrize("layer", [layer for layer in MAKES if layer not in REQUIRED])
def test_an_optional_layer_that_is_missing_is_one_warning(layer: Layer) -> None:
    said = told(layer, "strict")
    assert said.count("WARNING") == 1
    assert f"WARNING media decoders are not confined by: {layer}" in said
    assert "decoded (48, 64, 3)" in said


def test_the_server_ends_with_its_own_exit_code_and_says_what_to_do() -> None:
    number, first = MAKES[Layer.SECCOMP]
    script = (
        f"import sys; sys.path.insert(0, {str(Path(LACKING).parent)!r}); import lacking_layer\n"
        f"lacking_layer.lack({number}, {first})\n"
        "from antiphon_server.cli.main import main\n"
        "sys.exit(main(['serve', '--port', '0']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == ExitCode.WEAK_SANDBOX, done.stderr
    assert "not in force: seccomp" in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_operator_reads_in_the_log_which_layer_is_missing() -> None:
    """As the server logs: other loggers than its own have their words hidden."""
    number, first = MAKES[Layer.LANDLOCK]
    script = (
        f"import sys; sys.path.insert(0, {str(Path(LACKING).parent)!r}); import asyncio, lacking_layer\n"
        f"lacking_layer.lack({number}, {first})\n"
        "from antiphon_server.observability import logging as server_logging\n"
        "from antiphon_server.config.settings import LogSettings\n"
        "handler = server_logging.configure(LogSettings(), sys.stdout)\n"
        "asyncio.run(lacking_layer.decode(lacking_layer.MediaPolicy()))\n"
        "handler.flush()\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert "media decoders are confined by: resource limits" in done.stdout, done.stderr
    assert "media decoders are not confined by: landlock" in done.stdout


def test_layers_travel_from_the_decoder_to_the_server() -> None:
    layers = Layers.of({Layer.SECCOMP: True, Layer.LANDLOCK: False})
    assert Layers.decode(layers.encode()) == layers
    assert layers.in_force == (Layer.SECCOMP,)
    assert set(layers.missing_required) == set(REQUIRED) - {Layer.SECCOMP}
    assert Layers.decode(b"") is None
    assert Layers.decode(b'["walls"]') is None
