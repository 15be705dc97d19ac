"""Prints the table "Variants of checkpoints" of tests/RESULTS.md: what starts, answers and is refused.

Arguments: any of `refused`, `speaking`, `thinking`, `quantized`; by default all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import torch
from safetensors.torch import load_file, save_file

from antiphon_executor.tiny import write_tiny_checkpoint
from tests.e2e.answers import SPOKEN, said
from tests.e2e.server_process import MODEL, start_server
from tests.parity.talker.port_checkpoint import write_port
from tests.quantized_checkpoint import CONFIG, write_quantized

Row = tuple[str, str, str]


def main() -> int:
    parts: dict[str, Callable[[Path], Iterator[Row]]] = {
        "refused": refused, "speaking": speaking, "thinking": thinking, "quantized": quantized
    }  # fmt: skip
    asked = sys.argv[1:] or list(parts)
    print("| checkpoint | result | exact line |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in asked:
            for row in parts[name](Path(folder)):
                print(f"| {' | '.join(row)} |", flush=True)
    return 0


def speaking(folder: Path) -> Iterator[Row]:
    write_tiny_checkpoint(folder / "instruct", layout="released")
    yield "Instruct, in the released layout", *started(folder / "instruct")
    write_tiny_checkpoint(folder / "own", "qwen3_5_omni")
    write_port(folder / "own", folder / "port")
    yield "Qwen3.5-Omni in the names of ports (`qwen3_omni_next`)", *started(folder / "port")


def thinking(folder: Path) -> Iterator[Row]:
    write_tiny_checkpoint(folder / "thinking", layout="released", variant="thinking")
    yield "Thinking, in the released layout: no Talker, prompts open `<think>`", *started(folder / "thinking")


def quantized(folder: Path) -> Iterator[Row]:
    write_tiny_checkpoint(folder / "captioner", variant="captioner")
    write_quantized(folder / "captioner", folder / "packed", folder / "rounded")
    result = started(folder / "packed", "--dtype", "bfloat16")
    yield "Captioner, compressed-tensors (attention in 4 bits), in bfloat16", *result


def refused(folder: Path) -> Iterator[Row]:
    write_tiny_checkpoint(folder / "whole", variant="captioner")
    for name in ("thinker", "talker", "code2wav"):
        write(folder / "parts" / name, json.loads((folder / "whole" / "config.json").read_text()))
    yield "sub-folders `thinker`, `talker`, `code2wav`", "refused", refusal(folder / "parts")
    (folder / "gguf").mkdir()
    (folder / "gguf" / "omni-Q4_K_M.gguf").write_bytes(b"GGUF")
    yield "GGUF", "refused", refusal(folder / "gguf")
    for method, part in (("fp8", "weight_scale_inv"), ("awq", "qweight"), ("gptq", "qweight")):
        model = with_quantized_experts(folder, method, part)
        yield f"experts in {method}, x86 CPU without AMX", "refused before loading", refusal(model)


def write(folder: Path, config: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def with_quantized_experts(folder: Path, method: str, part: str) -> Path:
    """A whole checkpoint whose first expert has a tensor of the method's format."""
    target = folder / method
    target.mkdir()
    for file in (folder / "whole").iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            (target / file.name).symlink_to(file)
    config = json.loads((folder / "whole" / "config.json").read_text())
    config["quantization_config"] = CONFIG | {"quant_method": method}
    (target / "config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = load_file(folder / "whole" / "model.safetensors")
    weights[f"thinker.model.layers.0.mlp.experts.0.up_proj.{part}"] = torch.zeros(1)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


def refusal(model: Path) -> str:
    """The first line that `antiphon serve` prints for the folder, without its path."""
    command = [sys.executable, "-m", "antiphon_server", "serve", "--model", str(model), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    line = next(line for line in done.stderr.splitlines() if line.startswith("antiphon: "))
    return f"`{line.replace(str(model), model.name)}` (exit code {done.returncode})"


def started(model: Path, *flags: str) -> tuple[str, str]:
    """How the server answers, and what its banner and its refusal of audio say."""
    server = start_server(model, model.parent / f"{model.name}.log", *flags)
    try:
        client = server.client()
        answer = client.chat.completions.create(
            model=MODEL, messages=said("hello"), temperature=0, max_tokens=8
        )
        usage = answer.usage.completion_tokens_details
        try:
            voiced = {**SPOKEN, "audio": {"format": "wav"}}
            heard = client.chat.completions.create(
                model=MODEL, messages=said("hello"), max_tokens=8, **voiced
            )
            spoken = f"200, {heard.usage.completion_tokens_details.audio_tokens} frames"
        except openai.BadRequestError as error:
            spoken = f"{error.status_code}: {error.body['message']}"
        [voices] = [
            line.split(None, 1)[1] for line in server.said().splitlines() if line.startswith("  voices")
        ]
        result = f"starts; {usage.text_tokens} tokens of text, {usage.reasoning_tokens} of them reasoning"
        return result, f"voices: `{voices}`; audio: `{spoken}`"
    finally:
        server.end()


if __name__ == "__main__":
    raise SystemExit(main())
