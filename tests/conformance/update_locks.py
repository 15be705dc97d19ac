"""Writes the locks of the clients' environments: `make conformance-lock` (ARGS="livekit": of these alone).

Python's have the hashes of the wheels that fit Linux on x86_64 and Python 3.11 to 3.14; npm writes Node's.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from tests.conformance.homes import HOMES, ROOT, Home

_UV = str(ROOT / ".cache" / "lock-tools" / "bin" / "uv")
_FOR = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28")
_RESOLVE = ("--format", "pylock.toml", "--only-binary", ":all:", *_FOR)
_FITS = re.compile(r"-(?:py\d+|py2\.py3|cp3\d+)-(?:none|abi3|cp31[1-4])-(?:any|.*linux.*x86_64.*)\.whl")
_NAME = re.compile(r"[^/]+\.whl")


def main(*names: str) -> None:
    for home in HOMES:
        if not names or home.name in names:
            print(home.name, flush=True)
            _lock_node(home) if home.is_node else _lock_python(home)


def _lock_python(home: Home) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder, "asked.in")
        asked.write_text("\n".join(home.requires) + "\n")
        kept = Path(folder, "kept.txt")
        kept.write_text("\n".join(_pins(home)) + "\n")
        found = Path(folder, "pylock.toml")
        left_out = Path(folder, "left_out.txt")
        left_out.write_text("".join(f"{one}; sys_platform == 'never'\n" for one in home.never))
        command = [_UV, "pip", "compile", "--quiet", *_RESOLVE, "--override", str(left_out), "-c", str(kept)]
        subprocess.run([*command, "-o", str(found), str(asked)], check=True)
        packages = tomllib.loads(found.read_text())["packages"]
    home.locks[0].parent.mkdir(exist_ok=True)
    home.locks[0].write_text("".join(map(_block, packages)))


def _pins(home: Home) -> list[str]:
    """What is locked already stays."""
    if not home.locks[0].exists():
        return []
    return re.findall(r"^[a-z0-9][^\s\\]*==[^\s\\]+", home.locks[0].read_text(), re.MULTILINE)


def _block(package: dict[str, Any]) -> str:
    hashes = sorted(
        wheel["hashes"]["sha256"]
        for wheel in package["wheels"]
        if _FITS.search(wheel.get("name") or _NAME.findall(wheel["url"])[-1])
    )
    if not hashes:
        raise ValueError(f"no wheel of {package['name']} fits")
    lines = [f"{package['name']}=={package['version']}", *(f"--hash=sha256:{one}" for one in hashes)]
    return " \\\n    ".join(lines) + "\n"


def _lock_node(home: Home) -> None:
    wanted = dict(one.rsplit("@", 1) for one in home.requires)
    for file in home.locks:
        file.parent.mkdir(parents=True, exist_ok=True)
    home.locks[0].write_text(json.dumps({"private": True, "dependencies": wanted}, indent=2) + "\n")
    command = ["npm", "install", "--package-lock-only", "--omit-lockfile-registry-resolved", "--no-audit"]
    subprocess.run([*command, "--ignore-scripts", "--no-fund"], check=True, cwd=home.locks[0].parent)


if __name__ == "__main__":
    main(*sys.argv[1:])
