"""Parts of a request: they meet no rate limit, for the whole has paid, and the whole is not evicted."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from antiphon_executor.interface.events import PromptCounted
from antiphon_server.admission.capacity import Capacity
from antiphon_server.admission.controller import AdmissionController
from antiphon_server.admission.cost_model import RequestSize
from antiphon_server.admission.reservation import Reservation
from antiphon_server.errors import ApiError
from tests.server.admission.admitting import controller, started

SIZE = RequestSize(prompt_tokens=100, heard_seconds=10.0)


@pytest.fixture
def metered() -> AdmissionController:
    capacity = Capacity(2, 1, 2, 1_000, 30, 1_000, tokens_per_minute=60, audio_seconds_per_minute=5.0)
    return AdmissionController(capacity, clock=lambda: 0.0)


async def test_parts_that_together_exceed_a_minutes_limit_all_start(metered: AdmissionController) -> None:
    with metered.admit(Reservation("a")) as whole:
        metered.begin_parts(whole, 300, 30.0)
        for _ in range(3):
            with metered.admit(Reservation("a", part_of=whole)) as part:
                await metered.wait_for_slot(part, SIZE)
    assert metered.rates.tokens.remaining("a") == 60 - 300
    assert metered.rates.audio.remaining("a") == 5.0 - 30.0
    with pytest.raises(ApiError), metered.admit(Reservation("a")) as later:
        metered.begin_parts(later, 1, 1.0)


async def test_a_request_none_of_whose_parts_starts_costs_nothing(metered: AdmissionController) -> None:
    with metered.admit(Reservation("a")) as whole:
        metered.begin_parts(whole, 300, 30.0)
        assert metered.rates.audio.remaining("a") == 5.0 - 30.0
    assert metered.rates.tokens.remaining("a") == 60
    assert metered.rates.audio.remaining("a") == 5.0


@pytest.mark.parametrize(("has_paid", "left", "use"), [(False, 10, []), (True, 30, [(1, 80, 10.0)])])
async def test_what_is_read_ahead_of_a_request_costs_its_key_nothing_and_counts_as_no_use(
    metered: AdmissionController, has_paid: bool, left: int, use: list[tuple[int, int, float]]
) -> None:
    """The request's own prompt has all of it again. A part that was paid for is corrected."""
    metered.rates.debit("a", 50)
    whole = Reservation("a")
    whole.has_parts = has_paid
    with metered.admit(Reservation("a", part_of=whole)) as part:
        await metered.wait_for_slot(part, SIZE)
        metered.count_prompt(part, PromptCounted(text=10, audio=70, image=0, video=0, cached=0))
    assert metered.rates.tokens.remaining("a") == left
    assert [(one.requests, one.tokens, one.audio_s) for one in metered.load.usage.values()] == use


async def test_a_request_with_parts_is_not_evicted_and_one_that_was_begins_none() -> None:
    admission = controller(sequences=1, queued_requests=3)
    async with AsyncExitStack() as stack:
        await started(stack, admission, owner="a")
        loading = stack.enter_context(admission.admit(Reservation("a")))
        other, with_parts = (stack.enter_context(admission.admit(Reservation("a"))) for _ in range(2))
        admission.begin_parts(with_parts, 1, 1.0)
        stack.enter_context(admission.admit(Reservation("b")))
        assert with_parts.refusal is None
        (evicted,) = (one for one in (loading, other) if one.refusal)
        with pytest.raises(ApiError, match="evicted"):
            admission.begin_parts(evicted, 1, 1.0)


@pytest.mark.parametrize(
    ("per_key", "choices", "at_once"), [(0, 1, 8), (2, 1, 2), (0, 4, 4), (3, 8, 2), (0, 32, 1), (9, 1, 8)]
)
def test_as_many_run_side_by_side_as_can_start_together(per_key: int, choices: int, at_once: int) -> None:
    capacity = Capacity(16, 1, 64, 1_000, 30, 1_000, requests_per_key=per_key)
    assert capacity.side_by_side(8, choices) == at_once
