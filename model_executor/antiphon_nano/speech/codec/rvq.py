"""Residual vector quantization: a vector as the sum of one entry of each codebook.

Gradients pass straight through. Codebooks start from k-means and follow their vectors by moving averages; an
unused entry moves to a random vector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_UNUSED = 0.02


class ResidualQuantizer(nn.Module):
    """`codebooks`: [groups, entries, width]. `usage` and `sums` are moving averages."""

    codebooks: Tensor
    usage: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, groups: int = 8, entries: int = 512, width: int = 64, decay: float = 0.98) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("codebooks", torch.zeros(groups, entries, width))
        self.register_buffer("usage", torch.ones(groups, entries))
        self.register_buffer("sums", torch.zeros(groups, entries, width))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[n, width] to quantized [n, width], codes int64 [n, groups], and the commitment loss. Updates in
        training.
        """
        residual = vectors.detach()
        quantized = torch.zeros_like(residual)
        codes = []
        for group in range(len(self.codebooks)):
            nearest = nearest_entries(residual, self.codebooks[group])
            entries = self.codebooks[group][nearest]
            if self.training:
                self._follow(group, residual, nearest)
            codes.append(nearest)
            quantized, residual = quantized + entries, residual - entries
        commitment = functional.mse_loss(vectors, quantized)
        return vectors + (quantized - vectors).detach(), torch.stack(codes, 1), commitment

    def decode(self, codes: Tensor) -> Tensor:
        """Codes int64 [n, groups] to [n, width]."""
        chosen = [self.codebooks[group][codes[:, group]] for group in range(len(self.codebooks))]
        return torch.stack(chosen).sum(0)

    @torch.no_grad()
    def start(self, vectors: Tensor, rounds: int = 8) -> None:
        """k-means, one codebook after the other, each on the residuals of the ones before."""
        residual = vectors.clone()
        for group in range(len(self.codebooks)):
            centers = k_means(residual, self.codebooks.shape[1], rounds)
            self.codebooks[group] = centers
            self.usage[group], self.sums[group] = 4, 4 * centers
            residual = residual - centers[nearest_entries(residual, centers)]
        self.started.fill_(True)

    @torch.no_grad()
    def _follow(self, group: int, vectors: Tensor, nearest: Tensor) -> None:
        usage, sums = self.usage[group], self.sums[group]
        counts = torch.bincount(nearest, minlength=len(usage)).to(usage)
        usage.mul_(self.decay).add_(counts, alpha=1 - self.decay)
        sums.mul_(self.decay).index_add_(0, nearest, vectors, alpha=1 - self.decay)
        unused = usage < _UNUSED
        sums[unused] = vectors[torch.randint(len(vectors), (int(unused.sum()),))]
        usage[unused] = 1
        self.codebooks[group] = sums / usage.clamp(min=1e-5)[:, None]


def nearest_entries(vectors: Tensor, entries: Tensor) -> Tensor:
    """int64 [n]: for each vector of [n, width], the nearest of [entries, width]."""
    return torch.cdist(vectors, entries).argmin(1)


def k_means(vectors: Tensor, centers: int, rounds: int) -> Tensor:
    """[centers, width]. A center without vectors moves to a random vector."""
    found = vectors[torch.randint(len(vectors), (centers,))].clone()
    for _ in range(rounds):
        nearest = nearest_entries(vectors, found)
        counts = torch.bincount(nearest, minlength=centers).to(vectors)
        sums = torch.zeros_like(found).index_add_(0, nearest, vectors)
        spare = vectors[torch.randint(len(vectors), (centers,))]
        found = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], spare)
    return found
