"""The draw of one code a row from its scores: temperature, top-k, nucleus, Gumbel-max with hashed noise.

The noise depends on a row's key and the code alone, so that a stream draws the same in any batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

# splitmix64 (Steele, Lea, Flood, OOPSLA 2014), written as the signed numbers that int64 holds.
GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
MIX_2 = 0x94D049BB133111EB - (1 << 64)
MAX_TOP_K = 64


def reference(scores: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, key: Tensor) -> Tensor:
    """The definition: int64 [n] from `scores` float32 [n, vocab].

    `temperature`, `top_p`: float32 [n]; `top_k`, from 1 to `MAX_TOP_K`, and `key`: int64 [n]. The draw is
    Gumbel-max if the temperature is above 0, else the first of the best codes.
    """
    values, codes = candidates(scores, temperature, top_k)
    values = nucleus(values, top_p)
    gumbel = -torch.log(-torch.log(uniform(key, codes)))
    drawn = codes.gather(1, (values + gumbel).argmax(-1, keepdim=True)).squeeze(1)
    return torch.where(temperature > 0, drawn, scores.argmax(-1))


def candidates(scores: Tensor, temperature: Tensor, top_k: Tensor) -> tuple[Tensor, Tensor]:
    """The best `MAX_TOP_K` scores over temperature, descending, and their codes; -inf beyond the k best.

    Scores equal to the k-th stay, as in transformers' `TopKLogitsWarper`. A temperature of 0 divides by 1.
    """
    values, codes = scores.topk(min(MAX_TOP_K, scores.shape[1]), dim=-1)
    values = values / torch.where(temperature > 0, temperature, 1.0).unsqueeze(1)
    last = (top_k - 1).clamp(max=values.shape[1] - 1).unsqueeze(1)
    return values.masked_fill(values < values.gather(1, last), -torch.inf), codes


def nucleus(values: Tensor, top_p: Tensor) -> Tensor:
    """Masks the least likely codes that together have at most 1 - top_p. `values`: descending, [n, k].

    As transformers' `TopPLogitsWarper`, but equal values are kept or masked together, so that their order
    after sorting does not matter.
    """
    tail = values.flip(-1).softmax(-1).cumsum(-1).flip(-1)
    bound = top_p.unsqueeze(1)
    keep = (tail > 1 - bound) | (bound >= 1)
    keep[:, 0] = True
    least = torch.where(keep, values, torch.inf).amin(-1, keepdim=True)
    return values.masked_fill(values < least, -torch.inf)


def uniform(keys: Tensor, codes: Tensor) -> Tensor:
    """Noise by key and code, float32 [n, k], strictly between 0 and 1. `keys`: [n]; `codes`: [n, k].

    23 bits plus a half: (2**23 - 0.5) / 2**23 is the largest such number below 1 in float32.
    """
    bits = _shifted(mixed(keys.unsqueeze(1) + (codes + 1) * GOLDEN), 41)
    return (bits.to(torch.float32) + 0.5) * 2.0**-23


def mixed(x: Tensor) -> Tensor:
    """The finalizer of splitmix64, of int64 of any shape."""
    x = (x ^ _shifted(x, 30)) * MIX_1
    x = (x ^ _shifted(x, 27)) * MIX_2
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, by: int) -> Tensor:
    return (x >> by) & ((1 << (64 - by)) - 1)
