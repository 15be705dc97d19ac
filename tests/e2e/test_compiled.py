"""A server whose Thinker was compiled ahead: the same answers, and no later request compiles anything."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.checkpoints import tiny_qwen3_omni  # noqa: F401
from tests.e2e.answers import SPOKEN, ask, said
from tests.e2e.server_process import COMPILE_FLAGS, RunningServer, start_server

pytestmark = pytest.mark.engine

# Far below the ten seconds that the smallest compilation takes.
AT_ONCE_S = 5.0
# What is drawn may differ where two tokens are as likely as each other but for a rounding.
WARM = 1.0


@pytest.fixture(scope="module")
def compiled(
    tiny_qwen3_omni: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CACHE_ROOT", str(folder / "cache"))
        command = [sys.executable, "-m", "antiphon_server", "compile", str(tiny_qwen3_omni), *COMPILE_FLAGS]
        subprocess.run(command, check=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"})
        server = start_server(tiny_qwen3_omni, folder / "log")
        yield server
        server.end()


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": WARM, "seed": 5}, {"logprobs": True, "top_logprobs": 4}, SPOKEN],
    ids=["greedy", "sampled", "log probabilities", "spoken"],
)
def test_it_answers_as_the_eager_one_and_at_once(
    compiled: RunningServer, client: openai.OpenAI, options: dict[str, Any]
) -> None:
    began = time.monotonic()
    answer = ask(compiled.client(), said("Tell me about the red house."), **options)
    assert time.monotonic() - began < AT_ONCE_S
    assert answer.text
    if options.get("temperature") != WARM:
        assert answer.text == ask(client, said("Tell me about the red house."), **options).text
