"""One target under Atheris, which looks for bytes that reach new code: TARGET [libFuzzer's options]."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

# In an environment of its own, as the conformance tests have them.
atheris: Any = import_module("atheris")

with atheris.instrument_imports(include=["antiphon_server"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    TARGETS[name](b"")
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
