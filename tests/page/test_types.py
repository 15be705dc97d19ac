"""The types of the page's scripts, which TypeScript checks from their comments."""

from __future__ import annotations

import subprocess

import pytest

from tests.conformance.homes import PAGE_TOOLS, ROOT, CannotInstall


def test_the_types_of_the_scripts_are_right() -> None:
    try:
        PAGE_TOOLS.install()
    except CannotInstall as error:
        pytest.skip(str(error))
    compiler = PAGE_TOOLS.folder / "node_modules" / ".bin" / "tsc"
    command = [str(compiler), "-p", str(ROOT / "tests" / "page" / "tsconfig.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
