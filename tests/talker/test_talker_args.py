"""The Talker's engine on a GPU: what vLLM compiles and captures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from vllm.config.compilation import CompilationMode, CUDAGraphMode

from antiphon_executor.engine import effective_settings
from antiphon_executor.engine.talker_factory import check_graphs
from antiphon_executor.interface.errors import OperatorError
from antiphon_executor.interface.settings import EngineSettings, TalkerSettings
from antiphon_executor.stages.talker_args import aria_talker_engine_args, talker_engine_args


def test_on_a_gpu_vllm_captures_decoding_steps_and_compiles_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Our Talkers have no compiled module, without which other modes run norms in many small kernels."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    settings = EngineSettings(model=tmp_path)
    for arguments in (
        talker_engine_args(settings, text_socket="ipc:///none", frames_socket="ipc:///none"),
        aria_talker_engine_args(settings, frames_socket="ipc:///none"),
    ):
        assert not arguments.enforce_eager
        assert arguments.async_scheduling
        assert arguments.compilation_config.mode == CompilationMode.NONE
        assert arguments.compilation_config.cudagraph_mode == CUDAGraphMode.FULL_DECODE_ONLY


def test_the_vocoder_has_a_stream_of_its_own_unless_the_operator_says_otherwise(tmp_path: Path) -> None:
    for talker, expected in ((TalkerSettings(), "own"), (TalkerSettings(vocoder_stream="main"), "main")):
        settings = EngineSettings(model=tmp_path, talker=talker)
        for arguments in (
            talker_engine_args(settings, text_socket="ipc:///none", frames_socket="ipc:///none"),
            aria_talker_engine_args(settings, frames_socket="ipc:///none"),
        ):
            assert arguments.additional_config["vocoder_stream"] == expected


async def test_a_gpu_is_refused_a_predictor_that_no_graph_can_contain(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the capture it would compile kernels, or read on the host."""
    platform = SimpleNamespace(is_cpu=lambda: False)
    monkeypatch.setattr(effective_settings, "current_platform", platform)
    config: Any = SimpleNamespace(talker_config=None, enable_audio_output=True)
    talker = TalkerSettings(predictor_window=2)
    with pytest.raises(OperatorError, match=r"needs --enforce-eager on a GPU"):
        await effective_settings.checked_settings(
            EngineSettings(model=tmp_path, talker=talker), config, lambda line: None
        )


def test_a_predictor_without_a_graph_or_a_voice_may_guess(tmp_path: Path) -> None:
    eager = TalkerSettings(predictor_window=2, enforce_eager=True)
    check_graphs(EngineSettings(model=tmp_path, talker=eager))
    check_graphs(EngineSettings(model=tmp_path))
    check_graphs(EngineSettings(model=tmp_path, speech=False, talker=TalkerSettings(predictor_window=2)))


def test_on_a_cpu_it_is_eager(tmp_path: Path) -> None:
    settings = EngineSettings(model=tmp_path)
    arguments = talker_engine_args(settings, text_socket="ipc:///none", frames_socket="ipc:///none")
    assert arguments.enforce_eager
    assert not arguments.async_scheduling
