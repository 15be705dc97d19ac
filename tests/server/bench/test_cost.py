"""Costs on numbers that can be checked by hand."""

from __future__ import annotations

import pytest
from msgspec.structs import astuple

from antiphon_server.bench.measure.cost import Cost, machine_cost, token_cost
from antiphon_server.bench.measure.player import Playback
from antiphon_server.bench.measure.record import Outcome, StreamRecord, Usage
from antiphon_server.bench.options import Prices


def answer(outcome: Outcome = "ok", heard_s: float = 36.0, usage: Usage | None = None) -> StreamRecord:
    playback = Playback(heard_s, 1, 0, 0.0, None)
    return StreamRecord(number=0, input="text", due_s=0, outcome=outcome, playback=playback, usage=usage)


def test_a_machine_hour_is_shared_by_what_was_answered_in_it() -> None:
    records = [*[answer()] * 10, *[answer("rejected", 0.0)] * 90]
    cost = machine_cost(Prices(machine_hour=4.0), records, 360.0)
    assert cost is not None
    assert astuple(cost) == pytest.approx((0.4, 40.0, 4.0))


def test_tokens_have_prices_by_kind() -> None:
    usage = Usage(input_tokens=1_000, input_audio_tokens=400, output_tokens=500, output_audio_tokens=300)
    prices = Prices(input_tokens=1.0, output_tokens=2.0, input_audio_tokens=10.0, output_audio_tokens=20.0)
    cost = token_cost(prices, [answer(usage=usage)])
    assert cost is not None
    assert cost.total == pytest.approx((600 * 1 + 400 * 10 + 200 * 2 + 300 * 20) / 1e6)


def test_audio_tokens_without_a_price_of_their_own_have_the_others() -> None:
    cost = token_cost(Prices(output_tokens=2.0), [answer(usage=Usage(10, 10, 100, 50))])
    assert cost is not None
    assert cost.total == pytest.approx(100 * 2 / 1e6)


def test_unknown_costs_are_none() -> None:
    assert machine_cost(Prices(), [answer()], 1.0) is None
    assert token_cost(Prices(machine_hour=1.0), [answer(usage=Usage())]) is None
    assert token_cost(Prices(output_tokens=1.0), [answer(), answer(usage=Usage())]) is None
    nothing = machine_cost(Prices(machine_hour=1.0), [answer("broken")], 3600.0)
    assert nothing == Cost(1.0, None, None)
