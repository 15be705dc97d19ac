"""Steps of one request each: which request runs, and that the sizes of its steps depend on nothing else."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon_executor.interface.settings import EngineSettings, PaceSettings
from antiphon_executor.interface.spoken_length import UnlearnedPaces
from antiphon_executor.scheduling.deadline import ALL_TOKENS, plan_step
from antiphon_executor.scheduling.one_per_step.request_turns import Progress, RequestTurns
from antiphon_executor.scheduling.one_per_step.stream_turns import TurnTimes, one_stream
from antiphon_executor.scheduling.real_time import sustainable_streams
from antiphon_executor.scheduling.scheduler import stream_book
from antiphon_executor.scheduling.step_plan import PacingRules, StreamStatus
from antiphon_executor.scheduling.stream_book import Candidate

CHUNK = 8
MOST = 4
STEP_S = 0.010
RULES = PacingRules()


def times() -> TurnTimes:
    known = TurnTimes()
    for _ in range(200):
        measured = known.with_measurement(1, 0, STEP_S)
        assert isinstance(measured, TurnTimes)
        known = measured
    return known


def stream(key: str, last_step_s: float, **fields: object) -> StreamStatus:
    status = StreamStatus(key, True, True, 0.5, 0, True, False, True, 0.0, last_step_s)
    return dataclasses.replace(status, **fields)


def steps_of(requests: dict[str, tuple[int, int]], arrivals: list[str]) -> dict[str, list[tuple[int, int]]]:
    """(position, tokens) of each step, by request. `requests`: tokens of prompt and answer.

    `arrivals`: who arrives before each step; "" for no one.
    """
    turns, computed = RequestTurns(CHUNK, MOST), dict[str, int]()
    steps: dict[str, list[tuple[int, int]]] = {key: [] for key in requests}
    waiting = list(arrivals)
    while waiting or computed:
        arrived = waiting.pop(0) if waiting else ""
        if arrived:
            computed[arrived] = 0
        plan = turns.next(Progress(key, requests[key][0], done) for key, done in computed.items())
        for key in plan.run:
            steps[key].append((computed[key], 1 + plan.prompt_tokens))
            computed[key] += 1 + plan.prompt_tokens
            if computed[key] >= sum(requests[key]):
                del computed[key]
    return steps


@given(
    st.dictionaries(st.sampled_from("abcde"), st.tuples(st.integers(1, 40), st.integers(0, 6)), min_size=1),
    st.data(),
)
def test_a_requests_steps_are_the_same_alone_and_among_others(
    requests: dict[str, tuple[int, int]], data: st.DataObject
) -> None:
    gaps = [""] * data.draw(st.integers(0, 30))
    among = steps_of(requests, data.draw(st.permutations([*requests, *gaps])))
    for key, sizes in requests.items():
        assert among[key] == steps_of({key: sizes}, [key])[key]


def test_one_prompt_is_read_at_a_time_and_answers_go_on_beside_it() -> None:
    turns = RequestTurns(CHUNK, MOST)
    answering = Progress("answering", 5, 6)
    run = [
        turns.next([answering, Progress("long", 100, CHUNK * done), Progress("late", 3, 0)]).run[0]
        for done in (1, 1, 2, 2, 3)
    ]
    assert set(run) == {"answering", "long"}
    assert run.count("long") >= 2


def test_a_preempted_request_is_computed_again_in_the_same_steps() -> None:
    turns = RequestTurns(CHUNK, MOST)
    plans = [turns.next([Progress("again", 10, done)]) for done in (0, 8, 10, 11)]
    assert [1 + plan.prompt_tokens for plan in plans] == [8, 2, 1, 1]


def test_no_more_requests_begin_than_vllm_runs_at_the_same_time() -> None:
    """The step shows vLLM one request, so vLLM itself would let a fifth one in."""
    turns = RequestTurns(CHUNK, MOST)
    begun = [Progress(f"answering {number}", 5, 6) for number in range(MOST)]
    late = Progress("late", 3, 0)
    run = {turns.next([*begun, late]).run[0] for _ in range(2 * MOST + 2)}
    assert run == {one.key for one in begun}
    assert "late" in {turns.next([*begun[1:], late]).run[0] for _ in range(MOST)}


def test_without_requests_nothing_runs() -> None:
    assert RequestTurns(CHUNK, MOST).next([]).run == ()


def test_streams_that_take_turns_need_a_step_each() -> None:
    assert times().curve(4)[4] == pytest.approx(4 * times().curve(1)[1])
    # 80 ms of speech a frame, of which a tenth stays free.
    assert 4 <= sustainable_streams(times(), 16, headroom=0.1) <= 7


def test_the_stream_that_has_waited_longest_runs_alone_with_all_its_tokens() -> None:
    plan = one_stream(plan_step)(
        100.0, [stream("a", 99.9), stream("b", 99.8, prompt_tokens=4), stream("c", 99.95)], times(), RULES
    )
    assert (plan.run, plan.prompt_tokens) == (("b",), ALL_TOKENS)


def test_all_streams_of_a_book_of_turns_play_in_real_time() -> None:
    """Given four streams and steps of 10 ms: each gets a frame in every 80 ms, the new ones too."""
    book, keys, frames = stream_book(PaceSettings(), one_per_step=True), "abcd", dict.fromkeys("abcd", 0)
    now_s = 50.0
    for key in keys:
        book.add_stream(key, now_s, live=True)
    for _ in range(400):
        plan = book.plan(now_s, [Candidate(key, 0, ready=True) for key in keys])
        assert len(plan.run) <= 1
        now_s += STEP_S
        for key in plan.run:
            book.step_measured(1, 0, STEP_S)
            frames[key] += 1
            book.frames_generated(key, now_s, frames[key])
    assert min(frames.values()) >= 400 * STEP_S / 0.08 - 1


def test_the_voices_pace_is_not_learnt_from_other_answers() -> None:
    paces = UnlearnedPaces()
    paces.of("ada").measured("a text of a few words", 500)
    assert paces.of("ada").pace == 1.0


def test_it_is_off_by_default() -> None:
    assert not EngineSettings().deterministic
