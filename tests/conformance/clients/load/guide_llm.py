"""guidellm: synthetic prompts against chat and against completions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from harness import FOLDER, MODEL, URL, report

GUIDELLM = str(Path(sys.executable).parent / "guidellm")
REQUESTS = 4


def measured(name: str, *arguments: str) -> None:
    written = FOLDER / f"guidellm-{name}" / "benchmarks.json"
    command = [
        GUIDELLM, "benchmark", "--target", URL, "--model", MODEL, "--processor", os.environ["NANO_FOLDER"],
        "--rate-type", "synchronous", "--max-requests", str(REQUESTS), "--data",
        "prompt_tokens=32,output_tokens=16", "--output-path", str(written), "--disable-progress", *arguments,
    ]  # fmt: skip
    written.parent.mkdir(exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2_500:]
    [benchmark] = json.loads(written.read_text())["benchmarks"]
    requests = benchmark["requests"]
    assert len(requests["successful"]) == REQUESTS, requests
    assert not requests["errored"], requests
    assert {one["output_tokens"] for one in requests["successful"]} == {16}


def chat() -> None:
    measured("chat", "--request-type", "chat_completions")


def completions() -> None:
    measured("text", "--request-type", "text_completions")


if __name__ == "__main__":
    report("guidellm", chat, completions)
