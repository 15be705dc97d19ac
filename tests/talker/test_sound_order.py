"""On a GPU a step's sound is made beside the next step's backbone. Shown without one: who waits for whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from antiphon_executor.ipc.frame_sender import FAILED
from antiphon_executor.models.talker.step.frame_end import FrameEnd, FrameInputs
from antiphon_executor.models.talker.step.sound_order import InOrder, SideStream, Work, joined, sound_order
from antiphon_executor.models.talker.step_rows import StepRows
from tests.talker.frame_rig import HIDDEN, FrameRig, Row, in_buckets, tensors_of

CPU = torch.device("cpu")
# The slot of each step's streams and their frame. Slot 2 is closed behind step 2, and opened again.
STEPS: tuple[tuple[Row, ...], ...] = (
    ((1, 0), (2, 0)),
    ((1, 1), (2, 1), (3, 0)),
    ((3, 1), (2, 2)),
    ((1, 2), (2, 0), (3, 2)),
    ((2, 1), (1, 3)),
)
CLOSED_BEHIND = 2


class Late:
    """A GPU whose side stream runs as late as it may: only when it is waited for."""

    def __init__(self) -> None:
        self._waiting: Work | None = None
        self.joins = 0

    def run(self, work: Work) -> None:
        assert self._waiting is None, "two sounds at once"
        self._waiting = work

    def join(self) -> None:
        if self._waiting is not None:
            work, self._waiting = self._waiting, None
            self.joins += 1
            with torch.inference_mode():
                work()


def played(rig: FrameRig) -> list[Tensor]:
    """Begins each step when the one before has its logits, as vLLM does."""
    torch.manual_seed(1)
    logits = []
    for at, rows in enumerate(STEPS):
        logits.append(rig.run(rows, torch.randn(len(rows), HIDDEN)))
        if at == CLOSED_BEHIND:
            rig.pool.close(2)
            rig.open(202, 2)
    # Behind the last step: what a late stream has not made yet.
    rig.step.begin(StepRows(*(torch.zeros(1, dtype=torch.int64) for _ in range(4))))
    rig.step.finish(torch.zeros(1, HIDDEN))
    return logits


@pytest.mark.parametrize("graphs", [False, True])
def test_sound_that_is_made_as_late_as_it_may_is_the_same(graphs: bool) -> None:
    late, order = Late(), InOrder()
    rigs = [FrameRig(order=late), FrameRig(order=order)]
    if graphs:
        for rig in rigs:
            rig.step.graphs.capture(6, in_buckets)
    logits, expected = (played(rig) for rig in rigs)
    assert late.joins == len(STEPS)
    for one, other in zip(logits, expected, strict=True):
        assert torch.equal(one, other)
    for sent, also in zip(rigs[0].sent, rigs[1].sent, strict=False):
        for one, other in zip(tensors_of(sent), tensors_of(also), strict=True):
            assert torch.equal(one, other)
    heard = [int(stream) for sent in rigs[0].sent for stream in sent.stream]
    assert {101, 102, 103, 202} <= set(heard)
    assert len(set(rigs[0].sent[3].pcm.flatten().tolist())) > 100


def test_sound_reads_memory_that_the_next_step_does_not_write_before_it_joins() -> None:
    """Of the inputs, which the next `begin` writes, and of the slots, which open and close meanwhile."""
    rig = FrameRig()
    inputs = FrameInputs.padding(3, rig.pool)
    inputs.slot.copy_(torch.tensor([1, 2, 0]))
    inputs.frame.zero_()
    drawn = FrameEnd(rig.speech, rig.pool).draw(inputs)
    pool = rig.pool
    written = [*tensors_of(inputs), pool.history, pool.frames, pool.stream, pool.seen, pool.ended]
    memory = {tensor.untyped_storage().data_ptr() for tensor in written}
    assert all(tensor.untyped_storage().data_ptr() not in memory for tensor in tensors_of(drawn))


def test_a_frame_whose_sound_is_no_number_fails_its_stream_alone() -> None:
    rig = FrameRig()
    rig.vocoder.state.tails[1] = torch.nan
    logits = rig.run([(1, 0), (2, 0)], torch.randn(2, HIDDEN))
    assert not logits.isnan().any()
    (sent,) = rig.sent
    assert sent.stream.tolist() == [101, 102]
    assert sent.frame.tolist() == [FAILED, 0]


@dataclass
class Recorder:
    """In place of `torch.cuda`: one stream is the main one. `calls`: what was called, in order."""

    calls: list[str] = field(default_factory=list)
    current: str = "main"
    streams: int = 0
    events: int = 0

    def Stream(self, device: torch.device) -> Any:
        self.streams += 1
        return _Stream(f"side {self.streams}", self)

    def Event(self) -> Any:
        self.events += 1
        return _Event(f"event {self.events}", self)

    def current_stream(self, device: torch.device) -> Any:
        return _Stream(self.current, self)

    @contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        before, self.current = self.current, stream.name
        yield
        self.current = before

    def launch(self, what: str) -> None:
        self.calls.append(f"{self.current}: {what}")


@dataclass(frozen=True)
class _Stream:
    name: str
    cuda: Recorder

    def wait_event(self, event: _Event) -> None:
        self.cuda.calls.append(f"{self.name} waits for {event.name}")


@dataclass(frozen=True)
class _Event:
    name: str
    cuda: Recorder

    def record(self, stream: _Stream) -> None:
        self.cuda.calls.append(f"{stream.name} records {self.name}")


def step(cuda: Recorder, order: SideStream, number: int) -> None:
    """As `FrameStep.finish` behind vLLM's backbone."""
    cuda.launch(f"backbone {number}")
    order.join()
    cuda.launch(f"draw {number}")
    order.run(partial(cuda.launch, f"sound {number}"))


def test_the_side_stream_waits_for_the_draw_and_the_next_draw_for_the_sound() -> None:
    cuda = Recorder()
    order = SideStream(CPU, cuda)
    for number in range(2):
        step(cuda, order, number)
    assert cuda.calls == [
        "main: backbone 0",
        "main: draw 0",
        "main records event 1",
        "side 1 waits for event 1",
        "side 1: sound 0",
        "side 1 records event 2",
        "main: backbone 1",
        "main waits for event 2",
        "main: draw 1",
        "main records event 1",
        "side 1 waits for event 1",
        "side 1: sound 1",
        "side 1 records event 2",
    ]


def before(calls: Sequence[str], first: str, second: str) -> bool:
    """Whether a GPU has to have done `first` when it begins `second`."""
    known: dict[str, set[str]] = {}
    recorded: dict[str, set[str]] = {}
    at_launch: dict[str, set[str]] = {}
    for call in calls:
        name, waits, event = call.partition(" waits for ")
        if waits:
            known.setdefault(name, set()).update(recorded[event])
            continue
        name, records, event = call.partition(" records ")
        if records:
            recorded[event] = set(known.get(name, ()))
            continue
        name, _, what = call.partition(": ")
        at_launch[what] = set(known.setdefault(name, set()))
        known[name].add(what)
    return first in at_launch[second]


def test_a_sound_is_behind_its_draw_and_beside_the_next_backbone() -> None:
    cuda = Recorder()
    order = SideStream(CPU, cuda)
    for number in range(3):
        step(cuda, order, number)
    is_before: Callable[[str, str], bool] = partial(before, cuda.calls)
    assert is_before("draw 0", "sound 0")
    assert is_before("sound 0", "draw 1")
    assert is_before("sound 0", "sound 1")
    assert is_before("draw 1", "sound 1")
    assert not is_before("sound 0", "backbone 1")
    assert not is_before("sound 1", "backbone 2")


def test_a_slot_is_reset_behind_its_last_sound_and_before_its_next() -> None:
    cuda = Recorder()
    order = SideStream(CPU, cuda)
    reset = joined(order, lambda slots: cuda.launch("reset"))
    step(cuda, order, 0)
    reset(torch.tensor([1]))
    step(cuda, order, 1)
    assert before(cuda.calls, "sound 0", "reset")
    assert before(cuda.calls, "reset", "sound 1")


def test_what_a_sound_reads_is_kept_until_the_streams_are_joined() -> None:
    """The allocator would give its memory to the next backbone, which does not wait for the side stream."""

    class Watched:
        alive = 0

        def __init__(self) -> None:
            Watched.alive += 1

        def __del__(self) -> None:
            Watched.alive -= 1

    def work(read: Watched) -> None:
        assert read

    order = SideStream(CPU, Recorder())
    order.run(partial(work, Watched()))
    assert Watched.alive == 1
    order.join()
    assert Watched.alive == 0


def test_a_join_without_a_sound_waits_for_nothing() -> None:
    cuda = Recorder()
    order = SideStream(CPU, cuda)
    order.join()
    assert cuda.calls == []


def test_a_cpu_has_one_order_and_the_setting_chooses_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setattr(torch.cuda, "Stream", recorder.Stream)
    monkeypatch.setattr(torch.cuda, "Event", recorder.Event)
    assert isinstance(sound_order(CPU, "own"), InOrder)
    assert isinstance(sound_order(torch.device("cuda", 0), "main"), InOrder)
    assert isinstance(sound_order(torch.device("cuda", 0), "own"), SideStream)
