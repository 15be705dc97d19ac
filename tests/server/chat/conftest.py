"""The tiny checkpoint's prompts and tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from antiphon_server.chat.prompt.renderer import PromptRenderer
from tests.tiny_checkpoint import write_tiny_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("prompts"))


@pytest.fixture(scope="module")
def prompts(folder: Path) -> PromptRenderer:
    return PromptRenderer.from_folder(folder)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))
