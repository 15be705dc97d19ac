"""What the Talker's scheduler tells the other processes: the startup buffer, and when it needs the cores."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from vllm.v1.request import RequestStatus

from antiphon_executor.ipc.messages import StepTimesReport
from antiphon_executor.ipc.stage_activity import StageActivity
from tests.checkpoints import tiny_qwen3_5_omni  # noqa: F401
from tests.talker.scheduler_rig import SchedulerRig, clocked  # noqa: F401


class Reports:
    """A pace socket that keeps what is sent at once."""

    def __init__(self) -> None:
        self.sent: list[StepTimesReport | None] = []

    def drain_cursors(self) -> tuple[()]:
        return ()

    def report_paused(self, streams: int) -> None: ...

    def report_step_times(self, now_s: float, times: object) -> None: ...

    def send_step_times(self, now_s: float, report: StepTimesReport | None) -> None:
        self.sent.append(report)


@pytest.fixture
def rig(tiny_qwen3_5_omni: Path, clocked: list[SchedulerRig]) -> SchedulerRig:  # noqa: F811
    rig = SchedulerRig(tiny_qwen3_5_omni, blocks=200)
    clocked.append(rig)
    return rig


def test_the_startup_buffer_is_reported_before_the_first_frame_that_it_holds_back(rig: SchedulerRig) -> None:
    """The server once knew it from the report of the step before, a quarter of a second old: it sent one
    frame of 57 ms, while the steps of the streams that started together took longer.
    """
    reports = Reports()
    rig.scheduler._pace_socket = reports  # type: ignore[assignment]
    rig.step_s = 0.06
    rig.open("first")
    for _ in range(20):
        rig.step()
    count = len(reports.sent)
    rig.step()
    assert len(reports.sent) == count, "no stream starts"
    rig.open("second")
    during: list[float] = []
    rig.during_step = lambda: during.append(rig.scheduler._book.startup_buffer_s)
    while len(reports.sent) == count:
        rig.step()
    assert rig.request("second").num_output_tokens <= 1
    report = reports.sent[-1]
    assert report is not None
    assert report.startup_buffer_s == pytest.approx(during[-1], abs=0.001)
    assert report.startup_buffer_s > 0.06


def test_the_cores_are_claimed_during_the_first_steps_of_a_stream_and_not_later(
    rig: SchedulerRig, tmp_path: Path
) -> None:
    activity = StageActivity(tmp_path / "activity")
    rig.scheduler._activity = activity
    claims: list[float] = []
    rig.during_step = lambda: claims.append(activity.claimed_until_s - rig.now_s)
    rig.open("warm")
    for _ in range(20):
        rig.step()
    rig.scheduler.finish_requests(["warm"], RequestStatus.FINISHED_ABORTED)
    claims.clear()
    rig.open("a")
    for _ in range(12):
        rig.step()
        assert activity.claimed_until_s == 0.0
    assert all(0.015 < claim < 0.06 for claim in claims[:1])
    assert claims[-1] <= 0.0
    assert activity.talker_ran_s == rig.now_s


def test_a_prompt_computed_ahead_of_its_text_counts_as_no_frame(rig: SchedulerRig, tmp_path: Path) -> None:
    activity = StageActivity(tmp_path / "activity")
    rig.scheduler._activity = activity
    rig.open("a", unheard=1)
    claims: list[float] = []
    rig.during_step = lambda: claims.append(activity.claimed_until_s - rig.now_s)
    assert rig.step() == {"a"}
    assert rig.request("a").num_output_tokens == 1
    assert claims == [0.0]
    assert rig.scheduler._frames == {"a": 0}
    rig.step()
    assert rig.scheduler._frames == {"a": 1}


def test_the_thinker_knows_how_long_the_sound_of_all_clients_lasts(rig: SchedulerRig, tmp_path: Path) -> None:
    activity = StageActivity(tmp_path / "activity")
    rig.scheduler._activity = activity
    rig.open("a", more_text=True)
    assert activity.sound_until_s == rig.now_s, "its client waits for its first sound"
    for _ in range(30):
        rig.step()
    first_s = activity.sound_until_s
    assert first_s > rig.now_s + 1.0
    rig.open("b", more_text=True)
    assert activity.sound_until_s == rig.now_s
    rig.scheduler.finish_requests(["b"], RequestStatus.FINISHED_ABORTED)
    assert activity.sound_until_s == pytest.approx(first_s)
    rig.open("batch", live=False, more_text=True)
    assert activity.sound_until_s == pytest.approx(first_s)
    rig.scheduler.finish_requests(["a", "batch"], RequestStatus.FINISHED_ABORTED)
    assert activity.sound_until_s == math.inf


def test_a_stream_that_gets_no_text_for_a_while_does_not_hurry_the_thinker(
    rig: SchedulerRig, tmp_path: Path
) -> None:
    """Its answer begins with thoughts, which are not spoken."""
    activity = StageActivity(tmp_path / "activity")
    rig.scheduler._activity = activity
    rig.open("a", unheard=1, more_text=True)
    assert rig.step() == {"a"}
    rig.scheduler._report_sound()
    assert activity.sound_until_s == rig.now_s
    rig.now_s += 1.1
    rig.scheduler._report_sound()
    assert activity.sound_until_s == math.inf


def test_a_stream_that_has_all_its_text_does_not_hurry_the_thinker(rig: SchedulerRig, tmp_path: Path) -> None:
    """Text that is read aloud, or the end of an answer: long prompts waited for the Talker's own frames."""
    activity = StageActivity(tmp_path / "activity")
    rig.scheduler._activity = activity
    rig.open("read aloud")
    assert activity.sound_until_s == math.inf
    rig.open("answer", more_text=True)
    assert activity.sound_until_s == rig.now_s
    queue = rig.request("answer").streaming_queue
    assert queue is not None
    queue.append(None)
    rig.scheduler._report_sound()
    assert activity.sound_until_s == math.inf
