"""A running Talker engine without a Thinker: text ids go in, codes and audio come out."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vllm.engine.arg_utils import AsyncEngineArgs

from antiphon_executor.checkpoint.family import read_config
from antiphon_executor.interface.events import SpeechDelta, SpeechEnded
from antiphon_executor.interface.request import SpeechSampling
from antiphon_executor.interface.settings import EngineSettings, TalkerSettings
from antiphon_executor.ipc.bridge import Bridge, SocketFolder
from antiphon_executor.ipc.messages import HiddenStates, SpeechFrames
from antiphon_executor.models.qwen3_5_omni.talker_prompt import VoicePrompt
from antiphon_executor.stages.restart_policy import RestartPolicy
from antiphon_executor.stages.stage import Stage, start_stage
from antiphon_executor.stages.supervisor import SupervisedStage, WatchRules
from antiphon_executor.stages.talker_args import aria_talker_engine_args, talker_engine_args
from antiphon_executor.turn.aria_session import aria_talker
from antiphon_executor.turn.dual_track_session import dual_track_talker
from antiphon_executor.turn.slots import SlotTracker
from antiphon_executor.turn.speech_stream import SpeechStream, text_prompt
from antiphon_executor.turn.talker_session import Talker
from tests.parity.ending import engine_processes
from tests.warm_start import warm_start

_NAMES = itertools.count()


@dataclass
class Spoken:
    """What one stream gave: codes int16 [frames, groups], sound int16 [samples].

    `arrived_s`: when each frame came, by the monotonic clock.
    """

    codes: np.ndarray
    pcm: np.ndarray
    arrived_s: list[float]
    ended: SpeechEnded | None = None


class RecordingBridge(Bridge):
    """Keeps the frames of the stream opened last."""

    last: list[SpeechFrames]
    arrived_s: list[float]

    def open_stream(self, arrived: Callable[[SpeechFrames], None]) -> int:
        frames: list[SpeechFrames] = []
        arrived_s: list[float] = []
        self.last, self.arrived_s = frames, arrived_s

        def record(frame: SpeechFrames) -> None:
            frames.append(frame)
            if not frame.ended:
                arrived_s.append(time.monotonic())
            arrived(frame)

        return super().open_stream(record)


@dataclass
class TalkerRig:
    talker: Talker
    bridge: RecordingBridge
    slots: SlotTracker
    stage: Stage

    def preemptions(self) -> float:
        """How often the engine has preempted a stream, by its own count."""
        families = {family.name: family for family in self.stage.metrics.collect()}
        samples = families["antiphon_talker_num_preemptions"].samples
        return sum(sample.value for sample in samples if sample.name.endswith("_total"))

    def running(self) -> int:
        return self.stage.running

    async def speak(
        self,
        prompt: Sequence[int] | HiddenStates,
        text_ids: Sequence[int],
        sampling: SpeechSampling,
        *,
        pieces: Sequence[int] = (10_000,),
        pause_s: float = 0.0,
    ) -> Spoken:
        """Speaks `text_ids`, fed in pieces of the given sizes (repeating) with a pause between them."""
        with self.slots.lease_slot() as slot:
            # An abort is of all requests of one name.
            name = f"rig-{next(_NAMES)}"
            stream = SpeechStream(name, sampling, self.talker, self.bridge, slot)
            frames, arrived_s = self.bridge.last, self.bridge.arrived_s
            stream.set_prompt(prompt if isinstance(prompt, HiddenStates) else text_prompt(list(prompt)))
            feeding = asyncio.create_task(self._feed(stream, list(text_ids), pieces, pause_s))
            pcm, ended = [], None
            try:
                async with aclosing(stream.events()) as events:
                    async for event in events:
                        if isinstance(event, SpeechDelta):
                            pcm.append(event.pcm)
                        else:
                            ended = event
                await feeding
            finally:
                feeding.cancel()
                stream.close()
        frames = [frame for frame in frames if not frame.ended]
        assert [frame.frame for frame in frames] == list(range(len(frames)))
        codes = np.array([np.frombuffer(frame.codes, np.int16) for frame in frames])
        return Spoken(codes, np.frombuffer(b"".join(pcm), np.int16), arrived_s, ended)

    async def _feed(
        self, stream: SpeechStream, text_ids: list[int], pieces: Sequence[int], pause_s: float
    ) -> None:
        at, turn = 0, 0
        while at < len(text_ids):
            piece = text_ids[at : at + pieces[turn % len(pieces)]]
            at, turn = at + len(piece), turn + 1
            final = at >= len(text_ids)
            stream.add_text(piece, final=final)
            await asyncio.sleep(pause_s)


@asynccontextmanager
async def talker_rig(model: Path, talker: TalkerSettings) -> AsyncIterator[TalkerRig]:
    """Starts Qwen3-Omni's engine; ends it, and checks nothing, on the way out."""
    settings = EngineSettings(model=model, talker=talker)
    async with _bridge() as (folder, bridge):
        arguments = talker_engine_args(settings, text_socket=folder.text, frames_socket=folder.frames)
        async with _engine(arguments) as stage:
            slots = SlotTracker(talker.streams, 1000)
            end = dual_track_talker(read_config(model), unwatched(stage), bridge, slots, talker.max_frames)
            yield TalkerRig(end, bridge, slots, stage)


@asynccontextmanager
async def aria_rig(
    model: Path, talker: TalkerSettings, voices: Mapping[str, VoicePrompt]
) -> AsyncIterator[TalkerRig]:
    """Starts Qwen3.5-Omni's engine; ends it, and checks nothing, on the way out."""
    settings = EngineSettings(model=model, talker=talker)
    async with (
        _bridge() as (folder, bridge),
        _engine(aria_talker_engine_args(settings, frames_socket=folder.frames)) as stage,
    ):
        slots = SlotTracker(talker.streams, 1000)
        end = aria_talker(read_config(model), unwatched(stage), slots, voices, talker.max_frames)
        yield TalkerRig(end, bridge, slots, stage)


@asynccontextmanager
async def _bridge() -> AsyncIterator[tuple[SocketFolder, RecordingBridge]]:
    folder = SocketFolder()
    try:
        async with RecordingBridge(folder) as bridge:
            yield folder, bridge
    finally:
        folder.close()


@asynccontextmanager
async def _engine(arguments: AsyncEngineArgs) -> AsyncIterator[Stage]:
    with warm_start(), engine_processes() as processes:
        stage = await start_stage("talker", arguments, lambda line: None)
    try:
        yield stage
    finally:
        processes.kill()
        stage.llm.shutdown()


def unwatched(stage: Stage) -> SupervisedStage[Stage]:
    """An engine that is not restarted."""

    async def never() -> Stage:
        raise RuntimeError("an engine of a test is started once")

    return SupervisedStage(
        stage.name, stage, never, WatchRules(RestartPolicy(0), 60.0, 3.0), lambda death: None
    )
