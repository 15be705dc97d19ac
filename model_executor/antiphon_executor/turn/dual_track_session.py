"""A spoken answer of Qwen3-Omni: one Talker request that starts with the first text token.

Later text reaches the Talker's scheduler by the bridge, followed by tts_eos.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec
import numpy as np
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeConfig
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from antiphon_executor.interface.errors import RequestFailed
from antiphon_executor.interface.events import SpeechEnded
from antiphon_executor.interface.request import SpeechSampling
from antiphon_executor.ipc.bridge import Bridge
from antiphon_executor.ipc.messages import HiddenStates
from antiphon_executor.models.layers.packed_mrope import pack, pack_offset, unpack
from antiphon_executor.models.qwen3_omni.config import speakers
from antiphon_executor.models.qwen3_omni.talker_prompt import TalkerPrompt, talker_prompt
from antiphon_executor.models.qwen3_omni.vocabulary import TalkerVocabulary
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.talker.prompt_embeddings import pages_for
from antiphon_executor.models.talker.sampling import RESIDUAL_TEMPERATURE
from antiphon_executor.models.talker.slots import EXTRA_ARG, StreamStart
from antiphon_executor.stages.stage import Generate, Stage, current_generate
from antiphon_executor.stages.supervisor import SupervisedStage
from antiphon_executor.turn.engine_times import mark_engine_times
from antiphon_executor.turn.slots import SlotTracker
from antiphon_executor.turn.talker_session import StreamHandle, speech_ended, stream_sampling

PREDICTOR_TOP_P = 0.8  # transformers' default for the predictor's `generate`


@dataclass(frozen=True, slots=True)
class DualTrackTalker:
    """The Talker engine of a Qwen3-Omni checkpoint, with its vocabulary and the family's token ids."""

    generate: Generate
    bridge: Bridge
    slots: SlotTracker
    vocabulary: TalkerVocabulary
    ids: PromptIds
    codec_eos: int
    speakers: dict[str, int]
    max_frames: int

    def session(self, stream: StreamHandle, sampling: SpeechSampling) -> DualTrackSession:
        return DualTrackSession(self, stream, sampling)

    def for_known_text(self) -> DualTrackTalker:
        return self


def dual_track_talker(
    config: Qwen3OmniMoeConfig,
    talker: SupervisedStage[Stage],
    bridge: Bridge,
    slots: SlotTracker,
    max_frames: int,
) -> DualTrackTalker:
    """The Talker of a checkpoint with `config`. It stays valid when `talker` restarts."""
    return DualTrackTalker(
        generate=current_generate(talker),
        bridge=bridge,
        slots=slots,
        vocabulary=talker.engine.llm.model_config.hf_config.vocabulary,
        ids=PromptIds.of(config),
        codec_eos=config.talker_config.codec_eos_token_id,
        speakers=speakers(config),
        max_frames=max_frames,
    )


class DualTrackSession:
    """One spoken answer; a `SpeechSession`."""

    def __init__(self, talker: DualTrackTalker, stream: StreamHandle, sampling: SpeechSampling) -> None:
        self._talker = talker
        self._stream = stream
        self._sampling = sampling
        self._early: list[int] = []
        self._early_final = False
        self._has_text = asyncio.Event()
        self._text_tokens = 0
        self._opening = 0
        self._started = False
        self._closed = False

    def add_text(self, token_ids: Sequence[int], *, final: bool) -> None:
        track = [*token_ids, self._talker.ids.tts_eos] if final else list(token_ids)
        if self._closed or not track:
            return
        self._text_tokens += len(token_ids)
        if self._started:
            self._talker.bridge.send_text(self._stream.number, track, final=final)
            return
        self._early += track
        self._early_final = final
        self._has_text.set()

    async def generate_speech(self, prompt: HiddenStates) -> SpeechEnded:
        await self._has_text.wait()
        if not self._text_tokens:
            return SpeechEnded("stop", 0)
        if self._stream.on_mark is not None:
            self._stream.on_mark("talker_asked", time.monotonic())
        talker = self._talker
        track = self._talker_prompt(prompt)
        self._opening = len(track.first_text_ids)
        with talker.slots.lease_pages(pages_for(len(track.media_index))):
            requests = talker.generate(
                {"prompt_token_ids": track.token_ids},
                self._sampling_params(track, prompt),
                f"{self._stream.request_id}-speech",
            )
            self._started = True
            async with aclosing(requests):
                (output,) = [output async for output in requests] or (None,)
            if output is None:
                raise RequestFailed("the Talker did not report the end of its speech")
            mark_engine_times(self._stream.on_mark, "talker", output)
            (choice,) = output.outputs
            return speech_ended(choice.finish_reason, len(choice.token_ids))

    def consumed_tokens(self, frames: int) -> int:
        """One token per frame, after the frames for the prompt's own opening tokens."""
        return max(min(frames - self._opening, self._text_tokens), 0)

    def close_input(self) -> None:
        if not self._closed:
            self._closed = True
            self._talker.bridge.discard_text(self._stream.number)

    def _talker_prompt(self, prompt: HiddenStates) -> TalkerPrompt:
        talker = self._talker
        ids = np.frombuffer(prompt.prompt_token_ids, np.int32)
        positions = unpack(np.frombuffer(prompt.positions, np.int32).reshape(3, -1))
        speaker = talker.speakers[self._sampling.voice]
        return talker_prompt(
            ids, positions, talker.ids, talker.vocabulary, slot=self._stream.slot, speaker=speaker
        )

    def _sampling_params(self, track: TalkerPrompt, prompt: HiddenStates) -> SamplingParams:
        start = StreamStart(
            stream=self._stream.number,
            slot=self._stream.slot,
            positions=pack(track.positions).tobytes(),
            position_delta=pack_offset(track.position_delta),
            hidden_states=prompt.rows,
            hidden_states_dtype=prompt.dtype,
            text_ids=track.first_text_ids + self._early,
            text_final=self._early_final,
            live=self._stream.live,
            sampling=stream_sampling(
                self._sampling, predictor_temperature=RESIDUAL_TEMPERATURE, predictor_top_p=PREDICTOR_TOP_P
            ),
        )
        return SamplingParams(
            temperature=0.0,
            max_tokens=min(self._sampling.max_frames, self._talker.max_frames),
            stop_token_ids=[self._talker.codec_eos],
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            extra_args={EXTRA_ARG: msgspec.msgpack.encode(start)},
        )
