"""SECURITY.md: 52 promises, each with tests that exist, or with what is missing."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.mutants.__main__ import TESTS as MUTATED
from tests.mutants.mutations import mutations
from tests.project.sources import ROOT

TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (R\d+) \| (.+?) \| (.+?) \| (.+) \|$", TEXT, re.MULTILINE)


def named_in(cell: str) -> list[str]:
    return re.findall(r"`(tests/[^`]+)`", cell)


def defined_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def promised_in(tests: Path) -> set[str]:
    """The ids that markers of tests name."""
    named = re.compile(r"mark\.promise\(([^)]*)\)")
    found = (match for file in tests.rglob("test_*.py") for match in named.findall(file.read_text()))
    return {identity for names in found for identity in re.findall(r"\d+", names)}


def test_every_promise_has_one_row() -> None:
    numbers = [int(identity.removeprefix("R")) for identity, *_ in ROWS]
    assert numbers == list(range(1, 53))


@pytest.mark.parametrize(("holds", "tests"), [row[2:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_each_test_of_a_row_exists(holds: str, tests: str) -> None:
    assert holds == "yes" or holds.startswith(("in part: ", "no: "))
    named = named_in(tests)
    assert named or holds.startswith("no: ")
    for name in named:
        file, _, function = name.partition("::")
        assert (ROOT / file).is_file(), name
        assert not function or function in defined_in(ROOT / file), name


def test_every_promise_that_a_test_is_marked_with_has_a_row() -> None:
    assert {f"R{number}" for number in promised_in(ROOT / "tests")} <= {identity for identity, *_ in ROWS}


def test_the_mutants_are_of_modules_that_exist_and_their_tests_too() -> None:
    for module, names in MUTATED.items():
        file = ROOT / "server/antiphon_server" / f"{module.replace('.', '/')}.py"
        assert file.is_file(), module
        assert next(mutations(file.read_text()), None), module
        for name in names:
            assert (ROOT / "tests/server" / name).is_file(), name


def test_the_linter_forbids_what_runs_bytes_as_code_and_the_wall_clock() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    banned = lint["flake8-tidy-imports"]["banned-api"]
    assert {"pickle", "dill", "cloudpickle", "marshal", "torch.load", "time.time"} <= set(banned)
    # S307: eval. TID251: the banned names.
    assert {"S", "TID251"} <= set(lint["select"])
    assert not {"S307", "TID251"} & set(lint["ignore"])
    excepted = [path for path, rules in lint["per-file-ignores"].items() if {"S", "TID251"} & set(rules)]
    assert all(
        path.startswith(("tests/", "lock/", "deploy/", "model_executor/antiphon_nano/")) for path in excepted
    )


def test_a_bill_of_materials_and_an_audit_are_targets_and_ci_audits() -> None:
    makefile = (ROOT / "lock/lock.mk").read_text()
    assert re.search(r"^sbom:", makefile, re.MULTILINE)
    assert re.search(r"^audit:", makefile, re.MULTILINE)
    assert "lock/audit.py" in (ROOT / ".ci/run").read_text()
