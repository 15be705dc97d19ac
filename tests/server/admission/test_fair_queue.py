"""Fairness as properties: no key gets less than another while it has requests waiting."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_server.admission import fair_queue
from antiphon_server.admission.fair_queue import FairQueue, pick_victim

OWNERS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=40)


@dataclass(frozen=True, eq=False)
class Item:
    owner: str
    priority: int = 0


@given(OWNERS, st.integers(1, 8))
def test_slots_are_shared_as_evenly_as_demand_allows(owners: list[str], slots: int) -> None:
    queue: FairQueue[Item] = FairQueue()
    for owner in owners:
        queue.add(Item(owner))
    running: Counter[str] = Counter()
    for _ in range(min(slots, len(owners))):
        first = next(queue.in_order(running))
        queue.mark_started(first)
        running[first.owner] += 1
    wanted = Counter(owners)
    for owner in wanted:
        if running[owner] < wanted[owner]:
            assert all(running[owner] >= running[other] - 1 for other in running)


@given(OWNERS)
def test_within_a_key_requests_start_in_the_order_of_arrival(owners: list[str]) -> None:
    queue: FairQueue[Item] = FairQueue()
    items = [Item(owner) for owner in owners]
    for item in items:
        queue.add(item)
    started: list[Item] = []
    while len(queue):
        started.append(next(queue.in_order({})))
        queue.mark_started(started[-1])
    for owner in set(owners):
        own = [item for item in started if item.owner == owner]
        assert own == [item for item in items if item.owner == owner]


@given(OWNERS)
def test_with_one_slot_no_key_waits_for_two_of_another(owners: list[str]) -> None:
    queue: FairQueue[Item] = FairQueue()
    for owner in owners:
        queue.add(Item(owner))
    last: dict[str, int] = {}
    for number in range(len(owners)):
        item = next(queue.in_order({}))
        queue.mark_started(item)
        still = {one.owner for one in queue.in_order({})}
        assert number - last.get(item.owner, -1) >= len(still - {item.owner}) or item.owner not in last
        last[item.owner] = number


@given(OWNERS, st.sampled_from("abcde"))
def test_the_victim_is_of_the_key_with_most_and_the_newcomers_key_stays_below(
    owners: list[str], newcomer: str
) -> None:
    waiting = [Item(owner) for owner in owners]
    victim = pick_victim(waiting, Item(newcomer))
    counts = Counter(owners)
    if victim is None:
        assert counts[newcomer] + 1 >= max(counts.values())
        return
    assert counts[victim.owner] == max(counts.values())
    assert counts[newcomer] + 1 <= counts[victim.owner] - 1
    assert victim is [item for item in waiting if item.owner == victim.owner][-1]


def test_an_empty_queue_has_no_victim() -> None:
    assert pick_victim([], Item("a")) is None


def test_a_higher_priority_starts_first_whatever_its_key_has() -> None:
    queue: FairQueue[Item] = FairQueue()
    later, first, usual = Item("a", -1), Item("a", 1), Item("b")
    for item in (later, usual, first):
        queue.add(item)
    assert list(queue.in_order({"a": 5})) == [first, usual, later]
    queue.discard(usual)
    assert usual not in queue
    assert list(queue.in_order({})) == [first, later]


def test_a_full_queue_gives_up_its_lowest_priority_for_a_higher_one() -> None:
    waiting = [Item("a"), Item("b", -1), Item("c", -1), Item("b", -1)]
    assert pick_victim(waiting, Item("a")) is waiting[3]
    assert pick_victim(waiting, Item("d", -2)) is None
    assert pick_victim(waiting, Item("c", -1)) is None


def test_the_memory_of_served_owners_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "_OWNERS", 3)
    queue: FairQueue[Item] = FairQueue()
    for owner in "abcdab":
        queue.mark_started(Item(owner))
    assert list(queue._served) == ["d", "a", "b"]
