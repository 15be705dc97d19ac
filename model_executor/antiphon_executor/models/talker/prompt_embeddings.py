"""Prompt rows that no embedding table holds (media, voice), in pages shared by all slots.

Stored when a stream opens, gathered by (slot, index) without a host sync, freed when it closes.
"""

from __future__ import annotations

import torch

from antiphon_executor.models.talker.upload import numbers

PAGE_ROWS = 64


class PromptEmbeddingsFull(Exception):
    """The prompt embeddings of a new stream do not fit into the free pages."""


def pages_for(rows: int) -> int:
    """The number of pages that `rows` prompt embeddings need."""
    return -(-rows // PAGE_ROWS)


class PromptEmbeddings:
    """Room for `rows` embeddings of width `hidden`, shared by `slots` slots. Page 0 is always zeros."""

    def __init__(
        self, slots: int, rows: int, hidden: int, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        pages = pages_for(rows)
        self._pages = torch.zeros(pages + 1, PAGE_ROWS, hidden, dtype=dtype, device=device)
        self._table = torch.zeros(slots, pages, dtype=torch.int64, device=device)
        self._free = list(range(pages, 0, -1))
        self._owned: dict[int, list[int]] = {}

    @property
    def free_rows(self) -> int:
        return len(self._free) * PAGE_ROWS

    def store(self, slot: int, rows: torch.Tensor) -> None:
        """Stores `rows` [num_rows, hidden] for `slot`. Raises `PromptEmbeddingsFull` and stores nothing."""
        needed = pages_for(len(rows))
        if needed > len(self._free):
            raise PromptEmbeddingsFull(
                f"{len(rows)} prompt embeddings do not fit into {self.free_rows} free rows"
            )
        owned = [self._free.pop() for _ in range(needed)]
        self._owned[slot] = owned
        pages, full = numbers(owned, self._table.device), len(rows) // PAGE_ROWS
        whole, rest = rows[: full * PAGE_ROWS], rows[full * PAGE_ROWS :]
        self._pages.index_copy_(0, pages[:full], whole.view(full, *self._pages.shape[1:]))
        if len(rest):
            self._pages[owned[-1], : len(rest)] = rest
        self._table[slot, :needed] = pages

    def release(self, slot: int) -> None:
        """Zeroes and frees the pages of `slot`, if it has any."""
        owned = self._owned.pop(slot, [])
        if not owned:
            return
        self._pages.index_fill_(0, numbers(owned, self._pages.device), 0)
        self._table[slot] = 0
        self._free.extend(owned)

    def gather(self, slots: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Rows `index` [n] of `slots` [n] → [n, hidden]; zeros for an index beyond a stream's rows."""
        page = self._table[slots, index // PAGE_ROWS]
        return self._pages[page, index % PAGE_ROWS]
