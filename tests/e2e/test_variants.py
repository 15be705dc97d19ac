"""Variants of checkpoints behind the real server: without a Talker, thinking, with quantized weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from transformers.models.qwen3_omni_moe import Qwen3OmniMoeForConditionalGeneration

from antiphon_executor.tiny import write_tiny_checkpoint
from antiphon_server.chat.prompt.conversation import Conversation
from antiphon_server.chat.prompt.renderer import PromptRenderer
from tests.e2e.answers import said
from tests.e2e.forked_server import forked
from tests.e2e.server_process import MODEL, RunningServer, start_server, terminate
from tests.quantized_checkpoint import write_quantized

pytestmark = pytest.mark.engine

TOKENS = 8
# Of bfloat16: 0.06 was seen. The values before the quantization are 0.2 to 2.6 away.
TOLERANCE = 0.1


def greedy(client: openai.OpenAI, text: str, **fields: Any) -> Any:
    return client.chat.completions.create(
        model=MODEL, messages=said(text), temperature=0, max_tokens=TOKENS, extra_body=fields
    )


def test_the_thinking_variant_answers_in_text_and_says_so(tmp_path: Path) -> None:
    write_tiny_checkpoint(tmp_path / "model", layout="released", variant="thinking")
    server = start_server(tmp_path / "model", tmp_path / "log", launch=forked)
    try:
        client = server.client()
        answer = greedy(client, "hello")
        message, usage = answer.choices[0].message, answer.usage
        assert (message.content, answer.choices[0].finish_reason) == ("", "length")
        assert message.reasoning
        assert usage.completion_tokens_details.reasoning_tokens == usage.completion_tokens == TOKENS
        streamed = client.chat.completions.create(
            model=MODEL, messages=said("hello"), temperature=0, max_tokens=TOKENS, stream=True
        )
        pieces = [getattr(chunk.choices[0].delta, "reasoning", None) or "" for chunk in streamed]
        assert "".join(pieces) == message.reasoning
        with pytest.raises(openai.BadRequestError, match="its checkpoint has no Talker"):
            greedy(client, "hello", modalities=["text", "audio"], audio={"voice": "ethan", "format": "wav"})
        model = server.get("/v1/models").json()["data"][0]
        assert (model["has_talker"], model["reasoning"]) == (False, "always")
        assert model["output_modalities"] == ["text"]
        said_at_start = server.said()
        assert "none: this checkpoint has no Talker, so it answers in text" in said_at_start
        assert "every answer begins with it, in the field reasoning" in said_at_start
        assert terminate(server) == 0
    finally:
        server.end()


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Path]]:
    """A Captioner in compressed-tensors, and the folder of the same values in float32."""
    folder = tmp_path_factory.mktemp("quantized")
    write_tiny_checkpoint(folder / "captioner", variant="captioner")
    write_quantized(folder / "captioner", folder / "packed", folder / "rounded")
    server = start_server(folder / "packed", folder / "log", "--dtype", "bfloat16", launch=forked)
    yield server, folder / "rounded"
    server.end()


def test_quantized_weights_answer_as_the_values_that_they_stand_for(
    quantized: tuple[RunningServer, Path],
) -> None:
    server, rounded = quantized
    answer = greedy(server.client(), "tell me about music", logprobs=True)
    prompt = PromptRenderer.from_folder(rounded).render_now(
        Conversation(({"role": "user", "content": "tell me about music"},), (), ())
    )
    model = Qwen3OmniMoeForConditionalGeneration.from_pretrained(rounded, dtype=torch.float32).eval()
    with torch.no_grad():
        found = model.thinker.generate(
            torch.tensor([prompt]), max_new_tokens=TOKENS, do_sample=False, output_logits=True,
            return_dict_in_generate=True,
        )  # fmt: skip
    logits = torch.stack(found.logits)[:, 0]
    expected = logits.log_softmax(-1).max(-1).values
    logprobs = torch.tensor([token.logprob for token in answer.choices[0].logprobs.content])
    assert len(logprobs) == TOKENS
    assert (logprobs - expected).abs().max() < TOLERANCE
