"""A request with NaN logits ends with an error, and leaves nothing that another request could read."""

from __future__ import annotations

from pathlib import Path

from vllm.v1.engine import EngineCoreOutput, FinishReason
from vllm.v1.outputs import ModelRunnerOutput

from tests.checkpoints import tiny_qwen3_5_omni  # noqa: F401
from tests.talker.scheduler_rig import CODE, SchedulerRig, clocked  # noqa: F401


def step(rig: SchedulerRig, nans: dict[str, int]) -> tuple[list[int] | None, list[EngineCoreOutput]]:
    """-> the blocks that are zeroed before the step, and what comes of it."""
    planned = rig.scheduler.schedule()
    ran = list(planned.num_scheduled_tokens)
    result = ModelRunnerOutput(
        req_ids=ran,
        req_id_to_index={name: place for place, name in enumerate(ran)},
        sampled_token_ids=[[CODE] for _ in ran],
        num_nans_in_logits={name: nans.get(name, 0) for name in ran},
    )
    outputs = rig.scheduler.update_from_output(planned, result)
    return planned.new_block_ids_to_zero, [one for core in outputs.values() for one in core.outputs]


def test_only_the_corrupted_request_ends_and_its_random_token_is_not_reported(
    tiny_qwen3_5_omni: Path,  # noqa: F811
    clocked: list[SchedulerRig],  # noqa: F811
) -> None:
    rig = SchedulerRig(tiny_qwen3_5_omni, blocks=16)
    clocked.append(rig)
    rig.open("sound")
    rig.open("broken")
    ran: set[str] = set()
    while ran != {"sound", "broken"}:
        zeroed, outputs = step(rig, {})
        assert zeroed is None
        ran = {one.request_id for one in outputs}
        rig.now_s += rig.step_s
    held = {block for group in rig.scheduler.kv_cache_manager.get_block_ids("broken") for block in group}
    _, outputs = step(rig, {"broken": 3})
    told = {one.request_id: one for one in outputs}
    assert told["sound"].finish_reason is None
    assert told["sound"].new_token_ids == [CODE]
    assert told["broken"].finish_reason == FinishReason.ERROR
    assert told["broken"].new_token_ids == []
    assert told["broken"].num_nans_in_logits == 3
    assert set(rig.scheduler.requests) == {"sound"}
    assert set(rig.streams.open_slots.values()) == {1}
    zeroed, outputs = step(rig, {})
    assert set(zeroed or ()) == held
    assert [one.request_id for one in outputs] == ["sound"]
    assert step(rig, {})[0] is None


def test_a_corrupted_request_that_was_alone_is_cleaned_up_before_the_next_one_runs(
    tiny_qwen3_5_omni: Path,  # noqa: F811
    clocked: list[SchedulerRig],  # noqa: F811
) -> None:
    rig = SchedulerRig(tiny_qwen3_5_omni, blocks=16)
    clocked.append(rig)
    rig.open("broken")
    _, outputs = step(rig, {"broken": 1})
    assert [one.finish_reason for one in outputs] == [FinishReason.ERROR]
    rig.open("next")
    zeroed, outputs = step(rig, {})
    assert zeroed
    assert [one.request_id for one in outputs] == ["next"]
