"""A process that builds `tokenizer.json` from a checkpoint's vocabulary, merges and added tokens.

`python -m antiphon_executor.checkpoint.tokenizer_build CHECKPOINT FOLDER`; see `interface.tokenizer_files`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

# A tokenizer needs no torch, whose import takes seconds; transformers does without it if it finds none.
sys.modules["torch"] = None  # type: ignore[assignment]

from transformers import AutoTokenizer  # noqa: E402


def build(model: Path, folder: Path) -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json` to `folder`, with transformers' own class.

    A copy of `config.json` lies beside them: vLLM reads it there, else it tries again after two seconds.
    """
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    if not tokenizer.is_fast:
        raise ValueError(f"{type(tokenizer).__name__} has no tokenizer.json")
    tokenizer.save_pretrained(folder)
    if (config := model / "config.json").is_file():
        shutil.copyfile(config, folder / config.name)


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
