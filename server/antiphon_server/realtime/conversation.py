"""The items of one conversation in their order."""

from __future__ import annotations

from collections.abc import Iterator

from antiphon_server.errors import BadRequest
from antiphon_server.realtime.items import Item, kept_bytes

ROOT = "root"


class Conversation:
    """`id`: of the conversation. Its oldest items may be outside the model's context (`forget_before`)."""

    def __init__(self, conversation_id: str, max_items: int) -> None:
        self.id = conversation_id
        self._max_items = max_items
        self._items: list[Item] = []
        self._forgotten: set[str] = set()
        # Counted when it is asked for: each event of audio asks.
        self._kept_bytes: int | None = None

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def last_id(self) -> str | None:
        return self._items[-1].id if self._items else None

    @property
    def kept_bytes(self) -> int:
        if self._kept_bytes is None:
            self._kept_bytes = sum(kept_bytes(item) for item in self._items)
        return self._kept_bytes

    def recount(self) -> None:
        """An item has grown."""
        self._kept_bytes = None

    @property
    def context(self) -> list[Item]:
        """The items that the model is shown."""
        return [item for item in self._items if item.id not in self._forgotten]

    def find(self, item_id: str) -> Item | None:
        return next((item for item in self._items if item.id == item_id), None)

    def check_new(self, item_id: str | None) -> None:
        """Raises BadRequest if a client's item cannot be added."""
        if item_id is not None and self.find(item_id) is not None:
            message = f"Error adding item: an item with id '{item_id}' already exists."
            raise BadRequest(message, param="item.id", code="item_create_duplicate_item_id")
        if len(self._items) >= self._max_items:
            message = f"The conversation has {len(self._items)} items, which is the limit. Delete some."
            raise BadRequest(message, param="item", code="item_limit_exceeded")

    def add(self, item: Item, previous_id: str | None = None) -> str | None:
        """Adds an item after `previous_id` (None: as the last). Returns the id of the item before it."""
        at = len(self._items)
        if previous_id == ROOT:
            at = 0
        elif previous_id is not None:
            at = 1 + self._index(previous_id)
        self._items.insert(at, item)
        self.recount()
        return self.before(item.id)

    def before(self, item_id: str) -> str | None:
        """The id of the item before this one; None for the first, and for one that was deleted."""
        at = next((number for number, item in enumerate(self._items) if item.id == item_id), 0)
        return self._items[at - 1].id if at else None

    def remove(self, item: Item) -> None:
        self._items.remove(item)
        self.recount()
        self._forgotten.discard(item.id)

    def forget_before(self, item_id: str) -> None:
        """The model's context begins with this item from now on, if the client has not deleted it."""
        if self.find(item_id) is None:
            return
        for item in self._items:
            if item.id == item_id:
                return
            self._forgotten.add(item.id)

    def _index(self, item_id: str) -> int:
        found = next((number for number, item in enumerate(self._items) if item.id == item_id), None)
        if found is None:
            message = f"Error adding item: the previous item with id '{item_id}' does not exist."
            raise BadRequest(message, param="previous_item_id", code="item_create_previous_item_id_not_found")
        return found
