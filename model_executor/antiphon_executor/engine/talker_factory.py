"""Selects the Talker by model family: its engine arguments and its `Talker`."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedConfig
from vllm.engine.arg_utils import AsyncEngineArgs

from antiphon_executor.checkpoint.voices import voice_prompts
from antiphon_executor.interface.errors import OperatorError
from antiphon_executor.interface.settings import EngineSettings
from antiphon_executor.ipc.bridge import Bridge, SocketFolder
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.qwen3_5_omni.talker_prompt import PromptLayout
from antiphon_executor.models.thinker.talker_presence import has_talker
from antiphon_executor.stages.stage import Stage
from antiphon_executor.stages.supervisor import SupervisedStage
from antiphon_executor.stages.talker_args import aria_talker_engine_args, talker_engine_args
from antiphon_executor.turn.aria_session import aria_talker
from antiphon_executor.turn.dual_track_session import dual_track_talker
from antiphon_executor.turn.slots import SlotTracker
from antiphon_executor.turn.talker_session import Talker


def talker_args(
    settings: EngineSettings, config: PreTrainedConfig, folder: SocketFolder, activity: Path | None
) -> AsyncEngineArgs:
    """Arguments of the Talker engine. Only the dual track of Qwen3-Omni has a socket for text."""
    if isinstance(config, Qwen3_5OmniMoeConfig):
        return aria_talker_engine_args(
            settings, frames_socket=folder.frames, pace_socket=folder.pace, activity=activity
        )
    return talker_engine_args(
        settings,
        text_socket=folder.text,
        frames_socket=folder.frames,
        pace_socket=folder.pace,
        activity=activity,
    )


def with_speech_of(settings: EngineSettings, config: PreTrainedConfig) -> EngineSettings:
    """The settings, without speech if there is no Talker. Raises `OperatorError` if voices are set for it."""
    if has_talker(config):
        return settings
    if settings.voices is not None:
        raise OperatorError("--voices: this checkpoint has no Talker, so it has no voices")
    return settings.model_copy(update={"speech": False})


def check_graphs(settings: EngineSettings) -> None:
    """Of a GPU. Raises `OperatorError` for a Talker whose steps no CUDA graph can contain."""
    talker = settings.talker
    if settings.speech and talker.predictor_window > 1 and not talker.enforce_eager:
        raise OperatorError(
            "engine.talker.predictor_window above 1 needs --enforce-eager on a GPU: it reads "
            "on the host which of its guesses came true, and no CUDA graph can"
        )


def reads_user_text(config: PreTrainedConfig) -> bool:
    """Whether the Talker needs the Thinker's hidden states of user text too."""
    return isinstance(config, Qwen3_5OmniMoeConfig) and PromptLayout.of(config).projects_text


def make_talker(
    settings: EngineSettings,
    config: PreTrainedConfig,
    stage: SupervisedStage[Stage],
    bridge: Bridge,
    slots: SlotTracker,
) -> Talker:
    """Raises `OperatorError` if a voice cannot be used."""
    max_frames = settings.talker.max_frames
    if not isinstance(config, Qwen3_5OmniMoeConfig):
        return dual_track_talker(config, stage, bridge, slots, max_frames)
    prompts = voice_prompts(settings.model, config, settings.voices)
    voices = {one.voice.id: one.prompt for one in prompts}
    return aria_talker(config, stage, slots, voices, max_frames, settings.deterministic)
