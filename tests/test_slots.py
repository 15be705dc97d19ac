"""A slot belongs to one request at a time and is free again however the request ends."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from antiphon_executor.interface.errors import EngineBusy
from antiphon_executor.turn.slots import SlotTracker


def test_given_free_slots_then_leases_are_distinct_and_never_the_padding_slot() -> None:
    slots = SlotTracker(slots=3, pages=0)
    with ExitStack() as leases:
        taken = [leases.enter_context(slots.lease_slot()) for _ in range(3)]
        assert sorted(taken) == [1, 2, 3]
        assert slots.used == 3
    assert slots.used == 0


def test_given_no_free_slot_then_the_next_request_fails_at_once_with_a_retry_time() -> None:
    slots = SlotTracker(slots=1, pages=0)
    with slots.lease_slot(), pytest.raises(EngineBusy, match="all 1") as busy:
        slots.lease_slot().__enter__()
    assert busy.value.retry_after_s > 0


def test_given_a_request_that_fails_then_its_slot_and_pages_are_free_again() -> None:
    slots = SlotTracker(slots=1, pages=4)
    with pytest.raises(RuntimeError, match="request"), slots.lease_slot(), slots.lease_pages(4):
        raise RuntimeError("request")
    with slots.lease_slot(), slots.lease_pages(4):
        assert slots.used == 1


def test_given_too_few_pages_then_the_lease_is_refused_and_takes_none() -> None:
    slots = SlotTracker(slots=2, pages=4)
    with slots.lease_pages(3), pytest.raises(EngineBusy, match="media"):
        slots.lease_pages(2).__enter__()
    with slots.lease_pages(4):
        pass
