"""aiperf: chat with text, with sound and with pictures, all synthetic, streamed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import FOLDER, MODEL, URL, report

AIPERF = str(Path(sys.executable).parent / "aiperf")
REQUESTS = 4


def measured(name: str, *arguments: str) -> None:
    """Its own summary: every request has succeeded and was timed."""
    folder = FOLDER / f"aiperf-{name}"
    command = [
        AIPERF, "profile", "--model", MODEL, "--url", URL, "--endpoint-type", "chat", "--streaming",
        "--tokenizer", os.environ["NANO_FOLDER"], "--request-count", str(REQUESTS), "--concurrency", "2",
        "--synthetic-input-tokens-mean", "32", "--output-tokens-mean", "16", "--ui", "none",
        "--output-artifact-dir", str(folder), *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2_500:]
    found = json.loads(next(folder.rglob("*aiperf.json")).read_text())
    assert value(found, "request_count") == REQUESTS, found
    assert value(found, "error_request_count", 0) == 0, found
    assert value(found, "time_to_first_token") > 0


def value(found: dict[str, Any], name: str, missing: float | None = None) -> float:
    metric = found.get(name)
    if metric is None and missing is not None:
        return missing
    return float((metric or {})["avg"])


def text() -> None:
    measured("text")


def audio() -> None:
    measured("audio", "--audio-length-mean", "1", "--audio-format", "wav", "--audio-sample-rates", "16")


def image() -> None:
    measured("image", "--image-width-mean", "96", "--image-height-mean", "96", "--image-format", "png")


if __name__ == "__main__":
    report("aiperf", text, audio, image)
