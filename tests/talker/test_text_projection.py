"""Text rows are `text_projection(embed_tokens(id))`, for any chunk size of the table."""

from __future__ import annotations

import pytest
import torch
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeTalkerConfig
from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeTalkerResizeMLP

from antiphon_executor.models.qwen3_omni.text_projection import ResizeMLP, project_text_table

THINKER_HIDDEN, INTERMEDIATE, TALKER_HIDDEN, VOCAB = 48, 40, 32, 103


@pytest.fixture
def oracle() -> Qwen3OmniMoeTalkerResizeMLP:
    torch.manual_seed(0)
    text = {"hidden_size": TALKER_HIDDEN, "intermediate_size": INTERMEDIATE}
    config = Qwen3OmniMoeTalkerConfig(thinker_hidden_size=THINKER_HIDDEN, text_config=text)
    return Qwen3OmniMoeTalkerResizeMLP(config).eval()


@pytest.fixture
def projection(oracle: Qwen3OmniMoeTalkerResizeMLP) -> ResizeMLP:
    mine = ResizeMLP(THINKER_HIDDEN, INTERMEDIATE, TALKER_HIDDEN)
    mine.load_state_dict(oracle.state_dict(), strict=True)
    return mine


def test_the_projection_takes_the_checkpoints_names_and_equals_transformers(
    oracle: Qwen3OmniMoeTalkerResizeMLP, projection: ResizeMLP
) -> None:
    rows = torch.randn(3, 5, THINKER_HIDDEN)
    assert torch.equal(projection(rows), oracle(rows))


@pytest.mark.parametrize("chunk_rows", [1, 7, VOCAB - 1, VOCAB, 4_096])
def test_the_table_holds_the_projected_embedding_of_every_id(
    oracle: Qwen3OmniMoeTalkerResizeMLP, projection: ResizeMLP, chunk_rows: int
) -> None:
    embedding = torch.nn.Embedding(VOCAB, THINKER_HIDDEN)
    table = project_text_table(embedding.weight, projection, chunk_rows)
    one_by_one = oracle(embedding(torch.arange(VOCAB)))
    assert table.shape == (VOCAB, TALKER_HIDDEN)
    torch.testing.assert_close(table, one_by_one, rtol=1e-5, atol=1e-6)


def test_no_more_rows_than_a_chunk_are_in_flight(projection: ResizeMLP) -> None:
    seen: list[int] = []
    projection.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[0]))
    project_text_table(torch.randn(VOCAB, THINKER_HIDDEN), projection, chunk_rows=10)
    assert max(seen) <= 10
    assert sum(seen) == VOCAB


@pytest.mark.parametrize(("rows", "chunk_rows"), [(0, 8), (8, 0)])
def test_an_empty_table_or_chunk_is_refused(projection: ResizeMLP, rows: int, chunk_rows: int) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        project_text_table(torch.randn(rows, THINKER_HIDDEN), projection, chunk_rows)
