"""A process that builds `tokenizer.json` from a checkpoint's vocabulary, merges and added tokens.

`python -m antiphon_executor.checkpoint.tokenizer_build CHECKPOINT FOLDER`; see `interface.tokenizer_files`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from transformers import AutoTokenizer


def build(model: Path, folder: Path) -> None:
    """Writes `tokenizer.json` and `tokenizer_config.json` to `folder`, with transformers' own class."""
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    if not tokenizer.is_fast:
        raise ValueError(f"{type(tokenizer).__name__} has no tokenizer.json")
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
