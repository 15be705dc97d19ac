"""Initial embeddings of the Thinker: the forms of a word start alike, and the output head starts as they do.

" bread", "Bread" and " Bread" are three tokens, and a lesson seldom has all. With a common direction, copying
is learned for all words at once.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import nn
from transformers import Qwen2Tokenizer

from antiphon_executor.reference.thinker import Thinker

_SPREAD = 0.04
_OWN = 0.4
"""Weight of a form's own direction, relative to that of its word."""


@torch.no_grad()
def begin(thinker: Thinker, tokenizer: Qwen2Tokenizer) -> None:
    """Sets embedding and head: a direction for each word, and a smaller one for each of its forms."""
    table: torch.Tensor = thinker.model.embed_tokens.weight
    nn.init.normal_(table, std=_SPREAD)
    words: dict[str, list[int]] = defaultdict(list)
    for token in range(len(table)):
        words[str(tokenizer.decode([token])).strip().lower()].append(token)
    shared = table.clone()
    for tokens in words.values():
        shared[tokens] = shared[tokens[0]].clone()
    table.copy_((shared + _OWN * torch.randn_like(table) * _SPREAD) / (1 + _OWN**2) ** 0.5)
    thinker.lm_head.weight.copy_(table)
