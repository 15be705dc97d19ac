"""Greedy answers for many dialogues at once, with a cache: as the reference's `generate`, but faster.

Prompts are padded on the left. The mask keeps the padding out of attention and of the recurrent state.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from antiphon_executor.reference.thinker import Thinker
from antiphon_nano.thinker.dialogue import Sample
from antiphon_nano.thinker.network import network


@torch.no_grad()
def answers(thinker: Thinker, prompts: Sequence[Sample], end: int, most: int = 64) -> list[list[int]]:
    """The token ids of one answer for each prompt, at most `most`, without the end token."""
    batch = network.Batch.of(prompts)
    rows = network.embed(thinker, batch).rows
    sizes = [len(prompt.token_ids) for prompt in prompts]
    rows, positions, mask = _left(rows, batch.positions, sizes)
    cache = DynamicCache(config=thinker.config.text_config)
    following = positions.amax(dim=(0, 2)) + 1
    drawn: list[Tensor] = []
    running = torch.ones(len(prompts), dtype=torch.bool)
    while len(drawn) < most and bool(running.any()):
        output = thinker.model(
            inputs_embeds=rows,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        token = thinker.lm_head(output.last_hidden_state[:, -1]).argmax(-1)
        drawn.append(torch.where(running, token, torch.tensor(end)))
        running &= token != end
        rows = thinker.model.embed_tokens(token)[:, None]
        positions = following[None, :, None].expand(3, -1, -1)
        following = following + 1
        mask = torch.cat((mask, mask.new_ones(len(prompts), 1)), dim=1)
    return [_until(row, end) for row in torch.stack(drawn, dim=1).tolist()]


def _left(rows: Tensor, positions: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Moves each prompt's rows to the right edge. The mask is 0 in the padding."""
    length = rows.shape[1]
    moved, placed = torch.zeros_like(rows), torch.zeros_like(positions)
    mask = torch.zeros(len(sizes), length, dtype=torch.long)
    for index, size in enumerate(sizes):
        moved[index, length - size :] = rows[index, :size]
        placed[:, index, length - size :] = positions[:, index, :size]
        mask[index, length - size :] = 1
    return moved, placed, mask


def _until(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end)] if end in ids else ids
