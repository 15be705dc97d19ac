"""The Talker's engine on a GPU: what vLLM compiles and captures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from vllm.config.compilation import CompilationMode, CUDAGraphMode

from antiphon_executor.interface.settings import EngineSettings
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


def test_on_a_cpu_it_is_eager(tmp_path: Path) -> None:
    settings = EngineSettings(model=tmp_path)
    arguments = talker_engine_args(settings, text_socket="ipc:///none", frames_socket="ipc:///none")
    assert arguments.enforce_eager
    assert not arguments.async_scheduling
