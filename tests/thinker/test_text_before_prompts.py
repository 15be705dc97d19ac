"""Spoken answers beside a long prompt, on a simulated clock: their text comes in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from vllm.v1.request import Request

from antiphon_executor.interface.playback import PlayHead, seconds_of
from antiphon_executor.ipc.stage_activity import StageActivity
from antiphon_executor.scheduling.thinker_scheduler import LONG_TOKENS
from antiphon_executor.scheduling.yielding import LONGEST_POSTPONED_S, Yielding
from tests.thinker.thinker_rig import BLOCK, TEXT, WINDOW, Rig

# Of a frame of all streams, and of a step of the Thinker: for itself, for each token, for each token of the
# long prompt and token of its context, and for a window of media. Those of antiphon-nano, after three hours.
TALKER_STEP_S = 0.03
STEP_S, TOKEN_S, CONTEXT_S, WINDOW_S = 0.006, 2e-4, 2.6e-8, 0.27
CONTEXT = 78_000
# A prompt of hours: behind its first tokens, a step costs as much as `CONTEXT` makes it.
PROMPT = LONG_TOKENS + 10_000
CHUNK = 4
ANSWER_TOKENS, TAIL_FRAMES = 40, 60


@dataclass(eq=False)
class Stream:
    """Speech of one answer: four tokens of text give four frames, and the last ones all that are left."""

    text: int = 0
    is_final: bool = False
    frames: int = 0
    head: PlayHead = field(default_factory=PlayHead)

    @property
    def is_ready(self) -> bool:
        if self.is_final:
            return self.frames < self.text + TAIL_FRAMES
        return self.frames < self.text // CHUNK * CHUNK

    @property
    def is_complete(self) -> bool:
        return self.is_final and not self.is_ready

    def is_played(self, now_s: float) -> bool:
        return self.is_complete and self.head.buffered_s(now_s) <= 0


@dataclass
class Talker:
    """Makes a frame of every stream that has text, on a core of its own."""

    activity: StageActivity
    streams: list[Stream] = field(default_factory=list)
    at_s: float = 100.0

    def run_until(self, now_s: float) -> None:
        while self.at_s + TALKER_STEP_S <= now_s:
            ready = [one for one in self.streams if one.is_ready]
            self.at_s = self.at_s + TALKER_STEP_S if ready else now_s
            for one in ready:
                one.frames += 1
                one.head = one.head.generated(self.at_s, seconds_of(one.frames))
                self.activity.step_ended(self.at_s)
        self.report(now_s)

    def report(self, now_s: float) -> None:
        sound = [one.head.buffered_s(now_s) for one in self.streams if not one.is_complete]
        self.activity.sound_lasts(now_s + min(sound, default=1e9))


class Machine:
    """The Thinker's rig, with `speakers` who ask again when their answer is played."""

    def __init__(self, model: Path, folder: Path, speakers: int) -> None:
        self.now_s = 100.0
        self.rig = Rig.of(model, self._ran)
        self.talker = Talker(StageActivity(folder / "activity"))
        reader = StageActivity(folder / "activity")
        self.rig.scheduler._yielding = Yielding(reader, lambda: self.now_s, self._sleep)
        self.long: Request | None = None
        self.answers: list[tuple[Request, Stream] | None] = [None] * speakers
        self.heard: list[Stream] = []
        self.asked: list[tuple[float, Request]] = []
        self.waited: list[float] = []
        self._read_tokens = 0

    def read(self, tokens: int) -> Request:
        """Reads a prompt; all speakers have begun before."""
        while not all(one is not None and one[1].frames for one in self.answers):
            self.step()
        self.long = self.rig.add([TEXT] * tokens, [])
        while self.long.num_computed_tokens < tokens:
            self.step()
        return self.long

    def step(self) -> None:
        for number, answer in enumerate(self.answers):
            # One after the other, as people do.
            is_due = answer is None and self.now_s >= 100 + number
            if is_due or (answer is not None and answer[1].is_played(self.now_s)):
                request = self.rig.add([50 + number] * 20, [], answer_tokens=ANSWER_TOKENS)
                self.answers[number] = request, Stream()
        if not self.rig.scheduler.requests:
            self._sleep(0.01)
            return
        self.rig.step()
        for answer in self.answers:
            if answer is not None:
                self._pass_on(*answer)
        self.waited += [self.now_s - at_s for at_s, one in self.asked if one.num_output_tokens]
        self.asked = [(at_s, one) for at_s, one in self.asked if not one.num_output_tokens]
        self.talker.report(self.now_s)

    def ask(self, tokens: int) -> Request:
        """A prompt of text; `waited` has the seconds to its first token."""
        request = self.rig.add([60 + len(self.waited) % 30] * tokens, [])
        self.asked.append((self.now_s, request))
        return request

    def _pass_on(self, request: Request, stream: Stream) -> None:
        stream.text = request.num_output_tokens
        stream.is_final = request.request_id not in self.rig.scheduler.requests
        if stream.text and stream not in self.talker.streams:
            self.talker.streams.append(stream)
            # Its prompt has been computed.
            self.talker.activity.step_ended(self.now_s)
            self.heard.append(stream)

    def _ran(self, tokens: int, computed: int) -> None:
        seconds = STEP_S + tokens * TOKEN_S
        if self.long is not None:
            now = self.long.num_computed_tokens
            context = CONTEXT if now > LONG_TOKENS else now
            seconds += (now - self._read_tokens) * context * CONTEXT_S
            seconds += (now // WINDOW - self._read_tokens // WINDOW) * WINDOW_S
            self._read_tokens = now
        self._sleep(seconds)

    def _sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.talker.run_until(self.now_s)


@pytest.fixture
def machine(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Machine]:
    def start(speakers: int) -> Machine:
        machine = Machine(model, tmp_path, speakers)
        monkeypatch.setattr(time, "monotonic", lambda: machine.now_s)
        return machine

    return start


@pytest.mark.parametrize("speakers", [1, 2, 4, 8])
def test_no_client_underruns_beside_a_long_prompt(machine: Callable[[int], Machine], speakers: int) -> None:
    """A step took a tenth of a second, so that text came ten times a second; speech needs 12.5 tokens."""
    beside = machine(speakers)
    beside.read(PROMPT)
    assert len(beside.heard) > speakers
    assert [(one.head.underruns, one.head.underrun_s) for one in beside.heard if one.head.underruns] == []


def test_a_long_prompt_is_little_later_beside_more_speech(machine: Callable[[int], Machine]) -> None:
    took = {}
    for speakers in (1, 4):
        beside = machine(speakers)
        beside.read(PROMPT)
        took[speakers] = beside.now_s
    assert took[4] - 100 < 1.4 * (took[1] - 100)


@pytest.mark.parametrize(
    ("speakers", "tokens", "most_s"), [(0, 40, 0.1), (0, 600, 1.0), (4, 40, 0.1), (4, 2_000, 2.0)]
)
def test_a_shorter_prompt_does_not_wait_for_a_long_one(
    machine: Callable[[int], Machine], speakers: int, tokens: int, most_s: float
) -> None:
    """It had half of each step, which the long one's context makes small, and waited for text before each."""
    beside = machine(speakers)
    while not all(one is not None and one[1].frames for one in beside.answers):
        beside.step()
    beside.long = beside.rig.add([TEXT] * PROMPT, [])
    due_s = beside.now_s + 3.0
    while beside.long.num_computed_tokens < PROMPT:
        if beside.now_s >= due_s:
            beside.ask(tokens)
            due_s = beside.now_s + 3.0
        beside.step()
    assert len(beside.waited) > 5
    assert max(beside.waited) < most_s
    assert [one.head.underrun_s for one in beside.heard if one.head.underruns] == []


def test_speech_without_text_does_not_stop_a_prompt(machine: Callable[[int], Machine]) -> None:
    """Given a Talker that claims to need text all the time, and an answer that is not spoken."""
    beside = machine(0)
    beside.talker.report = lambda now_s: beside.talker.activity.sound_lasts(now_s)  # type: ignore[method-assign]
    answer = beside.rig.add([50] * 20, [], answer_tokens=9_000)
    while not answer.num_output_tokens:
        beside.step()
    beside.long = beside.rig.add([TEXT] * 1_000, [])
    waited, last_s, before = [], beside.now_s, 0
    while beside.long.num_computed_tokens < 1_000:
        beside.talker.activity.step_ended(beside.now_s)
        beside.step()
        if beside.long.num_computed_tokens > before:
            waited.append(beside.now_s - last_s)
            last_s, before = beside.now_s, beside.long.num_computed_tokens
    assert 0.3 < max(waited) < LONGEST_POSTPONED_S + 1.0


def test_a_prompt_that_waits_for_text_keeps_its_place(machine: Callable[[int], Machine]) -> None:
    """vLLM counts only those that it sees, and would begin one more than the engine may run."""
    beside = machine(0)
    most = beside.rig.scheduler.max_num_running_reqs
    answers = [beside.rig.add([50] * 20, [], answer_tokens=9_000) for _ in range(most - 1)]
    while not all(one.num_output_tokens for one in answers):
        beside.step()
    long = beside.rig.add([TEXT] * 20_000, [])
    while not long.num_computed_tokens:
        beside.step()
    beside.rig.add([60] * 20, [])
    beside.talker.report = lambda now_s: beside.talker.activity.sound_lasts(now_s)  # type: ignore[method-assign]
    postponed = 0
    for _ in range(20):
        before = long.num_computed_tokens
        beside.talker.activity.step_ended(beside.now_s)
        beside.talker.report(beside.now_s)
        beside.step()
        postponed += long.num_computed_tokens == before
        assert len(beside.rig.scheduler.running) == most
    assert postponed


def test_text_of_spoken_answers_preempts_none_of_them(machine: Callable[[int], Machine]) -> None:
    """vLLM frees cache of the last request that it sees, and does not see a prompt that waits."""
    beside = machine(0)
    answer = beside.rig.add([50] * (BLOCK - 6), [], answer_tokens=9_000)
    while not answer.num_output_tokens:
        beside.step()
    long = beside.rig.add([TEXT] * 20_000, [])
    while not long.num_computed_tokens:
        beside.step()
    beside.talker.report = lambda now_s: beside.talker.activity.sound_lasts(now_s)  # type: ignore[method-assign]
    pool = beside.rig.scheduler.kv_cache_manager.block_pool
    pool.get_new_blocks(pool.get_num_free_blocks())
    for _ in range(10):
        beside.talker.activity.step_ended(beside.now_s)
        beside.talker.report(beside.now_s)
        beside.step()
    assert answer.num_output_tokens > 6
    assert (answer.num_preemptions, long.num_preemptions) == (0, 1)


def test_a_turn_whose_past_is_cached_does_not_wait_for_text(machine: Callable[[int], Machine]) -> None:
    """It reads few tokens, as a short prompt does, beside an answer that has just begun."""
    beside = machine(0)
    past = beside.rig.add([70] * 2_000, [])
    while past.request_id in beside.rig.scheduler.requests:
        beside.step()
    beside.talker.report = lambda now_s: beside.talker.activity.sound_lasts(now_s)  # type: ignore[method-assign]
    answer = beside.rig.add([50] * 20, [], answer_tokens=9_000)
    while not answer.num_output_tokens:
        beside.step()
    beside.talker.activity.step_ended(beside.now_s)
    beside.talker.report(beside.now_s)
    turn = beside.rig.add([70] * 2_000 + [60] * 20, [])
    unknown = beside.rig.add([80] * 2_020, [])
    for _ in range(2):
        beside.step()
    assert turn.num_computed_tokens >= 2_020
    assert not unknown.num_computed_tokens
