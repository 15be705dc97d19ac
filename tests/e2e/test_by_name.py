"""The server's model came from the hub by its name, in the files of the released checkpoint."""

from __future__ import annotations

import openai
import pytest

from tests.e2e.server_process import RunningServer
from tests.hub_stand_in import StandIn

pytestmark = pytest.mark.engine


def test_the_model_was_downloaded_and_answers(
    served: RunningServer, hub: StandIn, client: openai.OpenAI
) -> None:
    assert sum(name.endswith(".safetensors") for name in hub.got) == 4
    assert "tokenizer.json" not in hub.got
    assert "downloading Qwen/Tiny-Omni" in served.log.read_text()
    answer = client.chat.completions.create(
        model="omni", messages=[{"role": "user", "content": "Größe 12345, 你好 🎈"}], max_tokens=4
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens in range(1, 5)
