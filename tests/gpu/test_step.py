"""What a Talker step launches on a GPU, and that its kernels compile for real GPUs, shown without one.

In a process of its own: other tests of this one run the kernels in Triton's interpreter.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

# `finish` had 2,557 launches, all outside, and 41 specialisations before its operations were fused.
MOST_INSIDE = 1_200
MOST_OUTSIDE = 12
MOST_SPECIALISATIONS = 20


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """One target and one dtype; `make kernels` has all."""
    file = tmp_path_factory.mktemp("gpu") / "report.json"
    command = [sys.executable, "-m", "tests.gpu.compiled", "--targets", "90", "--dtypes", "bfloat16"]
    subprocess.run([*command, "--json", str(file)], check=True, capture_output=True, timeout=300)
    found: dict[str, list[dict[str, Any]]] = json.loads(Path(file).read_text())
    return found


def test_a_step_launches_few_kernels_outside_its_graph_at_every_batch(
    report: dict[str, list[dict[str, Any]]],
) -> None:
    assert [one["batch"] for one in report["counted"]][:4] == [1, 2, 3, 4]
    assert max(one["outside"] for one in report["counted"]) <= MOST_OUTSIDE
    assert max(one["begin"] for one in report["counted"]) <= MOST_OUTSIDE
    assert 0 < max(one["inside"] for one in report["counted"]) <= MOST_INSIDE


def test_a_step_neither_reads_nor_copies_a_value_of_the_host(report: dict[str, list[dict[str, Any]]]) -> None:
    """A read fails on the meta device. A copied value, as True in `x[places] = True`, makes the host wait."""
    assert [one for one in report["counted"] if one["from_host"]] == []


def test_no_batch_needs_a_kernel_that_the_first_step_did_not(
    report: dict[str, list[dict[str, Any]]],
) -> None:
    """A kernel that is compiled late stops every stream that plays."""
    first, *later = [one["new_specialisations"] for one in report["counted"]]
    assert first <= MOST_SPECIALISATIONS
    assert sum(later) == 0


def test_every_kernel_compiles_without_a_spill(report: dict[str, list[dict[str, Any]]]) -> None:
    assert len(report["built"]) <= MOST_SPECIALISATIONS
    assert [one for one in report["built"] if one["spilled_bytes"]] == []


def test_products_in_bfloat16_use_tensor_cores(report: dict[str, list[dict[str, Any]]]) -> None:
    products = [one for one in report["built"] if one["kernel"].endswith("._product")]
    assert products
    assert all(one["tensor_core"] for one in products)
