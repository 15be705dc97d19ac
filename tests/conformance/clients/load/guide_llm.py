"""guidellm: synthetic prompts against chat, completions and responses."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from harness import FOLDER, MODEL, URL, report

REQUESTS, TOKENS = 4, 16


def measured(path: str) -> None:
    """All requests must have succeeded, with as many tokens as asked for."""
    written = FOLDER / f"guidellm{path.replace('/', '-')}.json"
    backend = {"kind": "openai_http", "target": URL, "model": MODEL, "request_format": path}
    command = [
        sys.executable, "-m", "guidellm", "run", "--backend", json.dumps(backend),
        "--profile", "kind=synchronous", "--constraint", f"kind=max_requests,count={REQUESTS}",
        "--data", f"kind=synthetic_text,prompt_tokens=32,output_tokens={TOKENS}",
        "--tokenizer", f"kind=huggingface_auto,model={os.environ['NANO_FOLDER']}",
        "--output", f"kind=json,path={written}", "--disable-console",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-2_500:]
    [benchmark] = json.loads(written.read_text())["benchmarks"]
    requests = benchmark["requests"]
    assert len(requests["successful"]) == REQUESTS, requests
    assert not requests["errored"], requests
    assert {one["output_tokens"] for one in requests["successful"]} == {TOKENS}


def chat() -> None:
    measured("/v1/chat/completions")


def completions() -> None:
    measured("/v1/completions")


def responses() -> None:
    measured("/v1/responses")


if __name__ == "__main__":
    report("guidellm", chat, completions, responses)
