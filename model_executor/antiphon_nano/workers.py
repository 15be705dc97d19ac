"""Processes that train one model together: each draws batches of its own, their gradients are averaged.

Started by `python -m torch.distributed.run --standalone --nproc-per-node N -m STAGE FOLDER`. A stage that is
started plainly is one worker, and nothing here costs it anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True)
class Worker:
    """`rank` of `count`. The first one logs and saves."""

    rank: int
    count: int

    @classmethod
    def joined(cls) -> Worker:
        """This process, after all of its group are there."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count > 1 and not distributed.is_initialized():
            distributed.init_process_group("gloo")
        return cls(int(os.environ.get("RANK", "0")), count)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, parts: int) -> range:
        """Which of a step's `parts` are this worker's, so that any number of them learns the same.

        ValueError where they cannot be dealt out evenly.
        """
        if parts % self.count:
            raise ValueError(f"{parts} parts of a step cannot be shared by {self.count} workers evenly")
        return range(self.rank, parts, self.count)

    def leave(self) -> None:
        """Waits for all: a worker whose group is torn from it while others are still busy is aborted."""
        if self.count > 1:
            distributed.barrier()
            distributed.destroy_process_group()

    def average(self, parameters: Iterable[Tensor]) -> None:
        """The gradients, in place, over all workers. What a worker's batch did not touch counts as zero."""
        if self.count == 1:
            return
        gradients = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        together = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(together)
        together /= self.count
        for gradient, mean in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


ALONE = Worker(0, 1)
