"""The Thinker's threads: all cores while no stream plays, its share as soon as one does."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon_executor.ipc.environment import may_change_threads, prepare_environment, threads_of_a_stage
from antiphon_executor.ipc.stage_activity import StageActivity
from antiphon_executor.stages.core_share import QUIET_S, CoreShare


def test_threads_follow_the_talker_and_change_only_after_a_while_of_silence(tmp_path: Path) -> None:
    now_s, threads = [100.0], list[int]()
    talker = StageActivity(tmp_path / "activity")
    share = CoreShare(StageActivity(tmp_path / "activity"), 4, 8, lambda: now_s[0], threads.append)
    share.adjust()
    share.adjust()
    assert threads == [8], "the first stream has not come yet"
    talker.step_began(100.0, 0.0)
    share.adjust()
    assert threads == [8, 4]
    for pause_s in (0.02, 0.5, QUIET_S - 0.1):
        now_s[0] += pause_s
        share.adjust()
        talker.step_ended(now_s[0])
    assert threads == [8, 4]
    now_s[0] += QUIET_S + 0.1
    share.adjust()
    assert threads == [8, 4, 8]


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "VLLM_CPU_OMP_THREADS_BIND"])
def test_threads_that_the_operator_has_set_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for variable in ("OMP_NUM_THREADS", "VLLM_CPU_OMP_THREADS_BIND", "VLLM_RPC_BASE_PATH"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    prepare_environment(tmp_path, on_cpu=True, streams=8)
    assert may_change_threads()
    monkeypatch.setenv(name, str(threads_of_a_stage() + 1))
    assert not may_change_threads()
