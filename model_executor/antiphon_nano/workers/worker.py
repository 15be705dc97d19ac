"""One of the processes that train a model together: it draws its own batches and shares its gradients."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from antiphon_nano.workers.gradient_memory import GradientMemory
from antiphon_nano.workers.start import GROUP_VARIABLE


@dataclass(frozen=True, slots=True)
class Worker:
    """Number `rank` of `count`. Rank 0 logs and saves. `memory` is None if `count` is 1."""

    rank: int
    count: int
    memory: GradientMemory | None = None

    @classmethod
    def joined(cls) -> Worker:
        """This process: a worker of the group that `workers.start` started it in, or else the only one."""
        group = os.environ.get(GROUP_VARIABLE)
        if group is None:
            return ALONE
        rank, link, *memories = map(int, group.split())
        return cls(rank, len(memories), GradientMemory(rank, socket.socket(fileno=link), memories))

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, parts: int) -> range:
        """The parts of a step that this worker takes. The group learns the same for every `count`.

        Raises ValueError if `parts` is not a multiple of `count`.
        """
        if parts % self.count:
            raise ValueError(f"{parts} parts of a step cannot be shared evenly by {self.count} workers")
        return range(self.rank, parts, self.count)

    def average(self, parameters: Iterable[Tensor]) -> None:
        """Replaces the gradients by their mean over all workers. A missing gradient counts as zero."""
        if self.memory is None:
            return
        gradients = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        mean = self.memory.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


ALONE = Worker(0, 1)
