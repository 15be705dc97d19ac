"""Memory that all workers of a group map: each writes its gradients there and reads those of the others."""

from __future__ import annotations

import mmap
import os
import socket
from collections.abc import Sequence

import torch
from torch import Tensor

from antiphon_nano.workers.start import ARRIVED


class WorkerLost(RuntimeError):
    """Another worker of the group has ended, so the stage cannot continue."""


class GradientMemory:
    """`link`: a socket to the process that releases barriers. `memories`: one memfd for each worker."""

    def __init__(self, rank: int, link: socket.socket, memories: Sequence[int]) -> None:
        # No subprocess of the stage may keep the link open after the stage has ended.
        link.set_inheritable(False)
        self._rank = rank
        self._link = link
        self._memories = memories
        self._tables: list[Tensor] = []

    def mean(self, gradients: Tensor) -> Tensor:
        """float32 [n] of this worker to float32 [n], the same mean in every worker. Raises WorkerLost."""
        if not self._tables:
            self._map(gradients.numel())
        self._tables[self._rank].copy_(gradients)
        self._wait_for_all()
        total = self._tables[0].clone()
        for table in self._tables[1:]:
            total += table
        # A worker that is ahead must not overwrite what another one still reads.
        self._wait_for_all()
        return total / len(self._tables)

    def _map(self, numbers: int) -> None:
        """Sizes this worker's memory, then maps everyone's."""
        os.ftruncate(self._memories[self._rank], numbers * torch.float32.itemsize)
        self._wait_for_all()
        maps = [mmap.mmap(memory, os.fstat(memory).st_size) for memory in self._memories]
        self._tables = [torch.frombuffer(each, dtype=torch.float32) for each in maps]

    def _wait_for_all(self) -> None:
        try:
            self._link.sendall(ARRIVED)
            released = self._link.recv(1)
        except ConnectionError:
            released = b""
        if not released:
            raise WorkerLost("another worker of this stage has ended")
