"""A Qwen3.5-Omni answer in the Talker: one streaming session, whose inputs are ARIA's chunks.

In: the Thinker's text. Out: how the stream ended. A chunk of text enters as soon as its tokens are known,
tts_eos behind the last; keys, values and states stay in the engine and are only ever extended.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray
from vllm import SamplingParams
from vllm.engine.protocol import StreamingInput
from vllm.inputs.engine import tokens_input
from vllm.sampling_params import RequestOutputKind

from antiphon_executor.interface.errors import InvalidRequest, OperatorError
from antiphon_executor.interface.events import SpeechEnded
from antiphon_executor.interface.request import SpeechSampling
from antiphon_executor.ipc.messages import HiddenStates
from antiphon_executor.models.aria.session_inputs import AriaSessionInputs, ChunkSize
from antiphon_executor.models.aria.stream import AriaPrompt, AriaStart, AriaVocabulary, aria_prompt
from antiphon_executor.models.aria.text_chunker import TextChunker
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.qwen3_5_omni.talker_prompt import VoicePrompt
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.talker.prompt_embeddings import pages_for
from antiphon_executor.models.talker.slots import EXTRA_ARG
from antiphon_executor.stages.stage import Converse, Stage, converse_of
from antiphon_executor.stages.supervisor import SupervisedStage
from antiphon_executor.turn.engine_times import mark_engine_times
from antiphon_executor.turn.slots import SlotTracker
from antiphon_executor.turn.talker_session import StreamPlace, ended, stream_sampling

PREDICTOR_TEMPERATURE = 0.9
PREDICTOR_TOP_P = 1.0


@dataclass(frozen=True, slots=True)
class AriaTalker:
    """What a stream needs of the Talker engine: how to converse with it, and the checkpoint's figures.

    `controls`: text ids that are never spoken. `max_tokens`: of a stream's whole sequence.
    """

    converse: Converse
    ledger: SlotTracker
    vocabulary: AriaVocabulary
    ids: PromptIds
    controls: frozenset[int]
    voices: Mapping[str, VoicePrompt]
    size: ChunkSize
    codec_bos: int
    codec_eos: int
    max_media_rows: int
    max_frames: int
    max_tokens: int

    def session(self, place: StreamPlace, sampling: SpeechSampling) -> AriaSession:
        return AriaSession(self, place, sampling)


def aria_talker(
    config: Qwen3_5OmniMoeConfig,
    talker: SupervisedStage[Stage],
    ledger: SlotTracker,
    voices: Mapping[str, VoicePrompt],
    max_frames: int,
) -> AriaTalker:
    """The Talker of a checkpoint with `config`, whichever engine runs it. `voices` by id.

    `OperatorError` where a voice has more frames than rows can be given to a prompt.
    """
    speech, model = config.talker_config, talker.engine.llm.model_config
    vocabulary: AriaVocabulary = model.hf_config.vocabulary
    for name, voice in voices.items():
        if len(voice.codes) > vocabulary.embedding_rows:
            problem = f"the voice {name} has {len(voice.codes)} frames, talker.media_rows are"
            raise OperatorError(f"{problem} {vocabulary.embedding_rows}")
    ids = PromptIds.of(config)
    return AriaTalker(
        converse=converse_of(talker),
        ledger=ledger,
        vocabulary=vocabulary,
        ids=ids,
        controls=frozenset((*ids.controls, config.im_end_token_id)),
        voices=voices,
        size=ChunkSize(speech.text_tokens_per_chunk, speech.frames_per_chunk),
        codec_bos=speech.codec_bos_id,
        codec_eos=speech.codec_eos_token_id,
        max_media_rows=speech.max_media_rows,
        max_frames=max_frames,
        max_tokens=model.max_model_len,
    )


class AriaSession:
    """One answer; a `SpeechSession`."""

    def __init__(self, talker: AriaTalker, place: StreamPlace, sampling: SpeechSampling) -> None:
        self._talker = talker
        self._place = place
        self._sampling = sampling
        self._text = TextChunker(
            talker.size.text, talker.ids.tts_eos, talker.vocabulary.text, controls=talker.controls
        )

    def feed(self, token_ids: Sequence[int], *, final: bool) -> None:
        self._text.add_tokens(token_ids, final=final)

    async def speak(self, prompt: HiddenStates) -> SpeechEnded:
        talker = self._talker
        aria = self._aria_prompt(prompt)
        voice = talker.voices[self._sampling.voice]
        inputs = AriaSessionInputs(
            aria.token_ids,
            talker.vocabulary,
            talker.size,
            max_frames=min(self._sampling.max_frames, talker.max_frames),
            max_tokens=talker.max_tokens,
        )
        with talker.ledger.lease_pages(pages_for(len(voice.codes) + len(aria.media_index))):
            return await self._converse(inputs, self._start(aria, voice, prompt))

    def text_tokens(self, frames: int) -> int:
        return self._text.tokens_up_to(min(self._talker.size.text_before(frames), self._text.entered))

    def close(self) -> None:
        self._text.close()

    async def _converse(self, inputs: AriaSessionInputs, start: AriaStart) -> SpeechEnded:
        """Each output brings the tokens drawn since the one before, whichever input they follow."""
        tokens, reason = 0, None
        outputs = self._talker.converse(
            self._entering(inputs, start), self._params(max_tokens=1), f"{self._place.request_id}-speech"
        )
        async with aclosing(outputs):
            async for output in outputs:
                mark_engine_times(self._place.on_mark, "talker", output)
                for choice in output.outputs:
                    tokens += len(choice.token_ids)
                    reason = choice.finish_reason
                    # A session goes on after each input's end, and would wait for ever after this one.
                    if reason not in (None, "stop", "length"):
                        return ended(reason, tokens)
        return ended(reason, tokens) if self._text.entered else SpeechEnded("stop", 0)

    async def _entering(self, inputs: AriaSessionInputs, start: AriaStart) -> AsyncGenerator[StreamingInput]:
        """The engine takes them as they come, ahead of the frames, and keeps the lists it is given.

        Behind an abort there is not even an end: the engine would take either for a new request.
        """
        opening = {EXTRA_ARG: msgspec.msgpack.encode(start)}
        async with aclosing(self._text.chunks()) as chunks:
            async for chunk in chunks:
                entering = inputs.add(chunk)
                if entering is None:
                    break
                params = self._params(entering.frames, opening)
                if opening and self._place.on_mark is not None:
                    self._place.on_mark("talker_asked", time.monotonic())
                yield StreamingInput(tokens_input(entering.token_ids), params)
                opening = {}
                if inputs.full:
                    break
        await self._text.wait_if_closed()

    def _params(self, max_tokens: int, extra_args: dict[str, bytes] | None = None) -> SamplingParams:
        return SamplingParams(
            temperature=0.0,
            max_tokens=max_tokens,
            stop_token_ids=[self._talker.codec_eos],
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
            extra_args=extra_args or None,
        )

    def _aria_prompt(self, prompt: HiddenStates) -> AriaPrompt:
        talker = self._talker
        return aria_prompt(
            np.frombuffer(prompt.prompt_token_ids, np.int32),
            talker.ids,
            talker.vocabulary,
            slot=self._place.slot,
            voice=talker.voices[self._sampling.voice],
            max_media_rows=talker.max_media_rows,
            codec_bos=talker.codec_bos,
        )

    def _start(self, aria: AriaPrompt, voice: VoicePrompt, prompt: HiddenStates) -> AriaStart:
        return AriaStart(
            stream=self._place.number,
            slot=self._place.slot,
            voice_codes=voice.codes.astype(np.int16).tobytes(),
            media_rows=_rows(prompt, aria.media_index),
            media_dtype=prompt.dtype,
            prompt_tokens=len(aria.token_ids),
            live=self._place.live,
            sampling=stream_sampling(
                self._sampling,
                predictor_temperature=PREDICTOR_TEMPERATURE,
                predictor_top_p=PREDICTOR_TOP_P,
            ),
        )


def _rows(prompt: HiddenStates, media_index: NDArray[np.int32]) -> bytes:
    """The Thinker's worker sends the rows that the Talker's prompt names: both cut to the same cap.

    InvalidRequest where the operator's cap is lower still, and they are too many.
    """
    came = np.frombuffer(prompt.row_index, np.int32)
    if len(came) > len(media_index):
        most = len(media_index)
        raise InvalidRequest(f"the conversation has {len(came)} media tokens; speech can follow {most}")
    if not np.array_equal(came, media_index):
        raise RuntimeError("the media rows that came are not those of the Talker's prompt")
    return prompt.rows
