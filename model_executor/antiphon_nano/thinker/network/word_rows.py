"""How a Thinker's text rows begin: the forms of a word are alike, and a word is answered by its own row.

In: a Thinker, its tokenizer. Out: the same Thinker. " bread", "Bread" and " Bread" are three tokens, of which
a lesson seldom shows all; copying is learned once for all words where rows of one word share a direction.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import nn
from transformers import Qwen2Tokenizer

from antiphon_executor.reference.thinker import Thinker

_SPREAD = 0.04
_OWN = 0.4
"""Of a form's own share, against its word's."""


@torch.no_grad()
def begin(thinker: Thinker, tokenizer: Qwen2Tokenizer) -> None:
    """Embedding and head: a row for each word, a smaller one for each of its forms."""
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
