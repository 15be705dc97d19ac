"""If the cache is too small for all streams, those with the most slack are preempted, and none underruns."""

from __future__ import annotations

from pathlib import Path

from vllm.v1.request import RequestStatus

from tests.checkpoints import tiny_qwen3_5_omni  # noqa: F401
from tests.talker.scheduler_rig import SchedulerRig, clocked  # noqa: F401

PARKED_FRAMES = 120


def rig_of(model: Path, clocks: list[SchedulerRig], blocks: int) -> SchedulerRig:
    rig = SchedulerRig(model, blocks)
    clocks.append(rig)
    return rig


def far_ahead(rig: SchedulerRig, name: str) -> None:
    """Opens a stream and gets so far ahead of its client that it pauses."""
    rig.open(name)
    while name in rig.step():
        pass
    assert rig.request(name).num_output_tokens > PARKED_FRAMES / 2


def test_a_paused_stream_is_preempted_before_playing_ones(
    tiny_qwen3_5_omni: Path,  # noqa: F811
    clocked: list[SchedulerRig],  # noqa: F811
) -> None:
    """vLLM could not see paused streams and preempted one that was about to underrun."""
    rig = rig_of(tiny_qwen3_5_omni, clocked, blocks=16)
    far_ahead(rig, "far")
    rig.open("near")
    rig.open("nearer")
    rig.step_s = 0.07
    while not any(rig.preemptions().values()):
        rig.step()
    assert rig.preemptions() == {"far": 1, "near": 0, "nearer": 0}
    ran = rig.step()
    assert ran >= {"near", "nearer"}


def test_a_batch_stream_is_preempted_before_a_paused_one(
    tiny_qwen3_5_omni: Path,  # noqa: F811
    clocked: list[SchedulerRig],  # noqa: F811
) -> None:
    rig = rig_of(tiny_qwen3_5_omni, clocked, blocks=22)
    far_ahead(rig, "far")
    rig.open("quiet", live=False, prompt=60)
    for _ in range(3):
        rig.step()
    assert rig.request("quiet").num_computed_tokens
    rig.open("near", prompt=60)
    rig.step_s = 0.07
    while not any(rig.preemptions().values()):
        rig.step()
    assert rig.preemptions() == {"far": 0, "quiet": 1, "near": 0}


def test_a_new_stream_takes_the_cache_of_a_paused_one(
    tiny_qwen3_5_omni: Path,  # noqa: F811
    clocked: list[SchedulerRig],  # noqa: F811
) -> None:
    rig = rig_of(tiny_qwen3_5_omni, clocked, blocks=16)
    far_ahead(rig, "far")
    rig.open("new", prompt=120)
    assert "new" in rig.step()
    assert rig.preemptions() == {"far": 1, "new": 0}


def test_a_stream_that_made_room_is_computed_again_and_goes_on(
    tiny_qwen3_5_omni: Path,  # noqa: F811
    clocked: list[SchedulerRig],  # noqa: F811
) -> None:
    rig = rig_of(tiny_qwen3_5_omni, clocked, blocks=16)
    far_ahead(rig, "far")
    made = rig.request("far").num_output_tokens
    rig.open("new", prompt=120)
    rig.step()
    rig.scheduler.finish_requests("new", RequestStatus.FINISHED_ABORTED)
    for _ in range(600):
        rig.step()
    assert rig.request("far").num_output_tokens > made


def test_a_stream_that_cannot_be_opened_fails_alone(
    tiny_qwen3_5_omni: Path,  # noqa: F811
    clocked: list[SchedulerRig],  # noqa: F811
) -> None:
    """It once ended the Talker's process, and every stream with it."""
    rig = rig_of(tiny_qwen3_5_omni, clocked, blocks=16)
    rig.open("whole")
    rig.open("broken", poisoned=True)
    assert rig.sender.failed == [2]
    assert rig.step() == {"whole"}
    assert list(rig.scheduler.requests) == ["whole"]
