"""Compilations that do not end are detected, even after their request is gone."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from antiphon_executor.scheduling.grammar_watch import GrammarWatch

pytestmark = pytest.mark.promise("R41", "R49")


@dataclass
class Schema:
    is_grammar_ready: bool = False


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_oldest_that_is_not_compiled_counts(clock: Clock) -> None:
    watch, first, second = GrammarWatch(clock), Schema(), Schema()
    assert watch.oldest_s() == 0
    watch.begin("a", first)
    clock.now += 3
    watch.begin("b", second)
    clock.now += 2
    assert watch.oldest_s() == 5
    assert watch.overdue(4) == {"a"}
    first.is_grammar_ready = True
    assert watch.oldest_s() == 2
    assert watch.overdue(4) == set()
    second.is_grammar_ready = True
    assert watch.oldest_s() == 0


def test_schemas_that_are_compiled_are_forgotten(clock: Clock) -> None:
    watch = GrammarWatch(clock)
    for number in range(1_000):
        watch.begin(str(number), Schema(is_grammar_ready=True))
        watch.overdue(1)
    assert not watch._compiling
