"""The command `llm`: a model from `extra-openai-models.yaml`, streamed and with a schema."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import ANSWER, BASE, KEY, MODEL, QUESTION, SWITCH, report

HOME = Path(tempfile.mkdtemp())
LLM = str(Path(sys.executable).parent / "llm")


def asked(*arguments: str) -> str:
    environment = {**os.environ, "LLM_USER_PATH": str(HOME), "OPENAI_API_KEY": KEY}
    command = [LLM, "-m", "nano", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def stream() -> None:
    assert asked("-u", QUESTION) == ANSWER


def schema() -> None:
    assert json.loads(asked("--schema", json.dumps(SWITCH), QUESTION))["on"] in (True, False)


if __name__ == "__main__":
    described = {"model_id": "nano", "model_name": MODEL, "api_base": BASE, "supports_schema": True}
    (HOME / "extra-openai-models.yaml").write_text(json.dumps([described]))
    report("llm", stream, schema)
