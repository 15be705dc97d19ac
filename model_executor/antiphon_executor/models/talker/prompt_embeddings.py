"""Media rows of the streams' prompts, in pages shared by all slots.

In: projected rows of a stream as it opens. Out: rows gathered by (slot, index), without a host sync.
Pages return to the free list when the stream closes. Never projects, never looks at token ids.
"""

from __future__ import annotations

import torch

PAGE_ROWS = 64


class PromptEmbeddingsFull(Exception):
    """More media rows are open than the arena holds."""


def pages_for(rows: int) -> int:
    """How many pages `rows` media rows take."""
    return -(-rows // PAGE_ROWS)


class PromptEmbeddings:
    """`rows` media rows of width `hidden` for `slots` slots; page 0 is a page of zeros that nobody owns."""

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
        """Keeps `rows` [num_rows, hidden] for `slot`, or raises `PromptEmbeddingsFull` and keeps nothing."""
        needed = pages_for(len(rows))
        if needed > len(self._free):
            raise PromptEmbeddingsFull(f"{len(rows)} media rows do not fit into {self.free_rows} free ones")
        owned = [self._free.pop() for _ in range(needed)]
        self._owned[slot] = owned
        for page, part in zip(owned, rows.split(PAGE_ROWS), strict=True):
            self._pages[page, : len(part)] = part
        self._table[slot, :needed] = torch.tensor(owned, dtype=torch.int64, device=self._table.device)

    def release(self, slot: int) -> None:
        """Zeroes and frees the pages of `slot`, if it has any."""
        owned = self._owned.pop(slot, [])
        if not owned:
            return
        self._pages[torch.tensor(owned, device=self._pages.device)] = 0
        self._table[slot] = 0
        self._free.extend(owned)

    def gather(self, slots: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Rows `index` [n] of `slots` [n] -> [n, hidden]; an index outside of a stream's rows gives zeros."""
        page = self._table[slots, index // PAGE_ROWS]
        return self._pages[page, index % PAGE_ROWS]
