"""A spoken answer of Qwen3.5-Omni: one streaming session of the Talker, whose inputs are ARIA's chunks.

A chunk is sent as soon as its text tokens are known; tts_eos follows the last. The engine keeps keys, values
and recurrent states between inputs and only extends them.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

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
from antiphon_executor.models.aria.prompt import AriaPrompt, AriaStart, aria_prompt
from antiphon_executor.models.aria.session_inputs import UNHEARD_TOKENS, AriaSessionInputs, ChunkSize
from antiphon_executor.models.aria.text_chunker import TextChunker
from antiphon_executor.models.aria.vocabulary import AriaVocabulary
from antiphon_executor.models.qwen3_5_omni.config import Qwen3_5OmniMoeConfig
from antiphon_executor.models.qwen3_5_omni.talker_prompt import PromptLayout, VoicePrompt
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.talker.prompt_embeddings import pages_for
from antiphon_executor.models.talker.slots import EXTRA_ARG
from antiphon_executor.stages.stage import RunSession, Stage, current_run_session
from antiphon_executor.stages.supervisor import SupervisedStage
from antiphon_executor.turn.engine_times import mark_engine_times
from antiphon_executor.turn.slots import SlotTracker
from antiphon_executor.turn.talker_session import StreamHandle, speech_ended, stream_sampling

PREDICTOR_TEMPERATURE = 0.9
PREDICTOR_TOP_P = 1.0


@dataclass(frozen=True, slots=True)
class AriaTalker:
    """The Talker engine of a Qwen3.5-Omni checkpoint.

    `controls`: text ids that are never spoken. `max_tokens`: limit of a stream's whole sequence.
    """

    run_session: RunSession
    slots: SlotTracker
    vocabulary: AriaVocabulary
    ids: PromptIds
    controls: frozenset[int]
    voices: Mapping[str, VoicePrompt]
    size: ChunkSize
    layout: PromptLayout
    codec_eos: int
    max_media_rows: int
    max_frames: int
    max_tokens: int
    prompt_alone: bool = False

    def session(self, stream: StreamHandle, sampling: SpeechSampling) -> AriaSession:
        return AriaSession(self, stream, sampling)

    def for_known_text(self) -> AriaTalker:
        return replace(self, prompt_alone=True)


def aria_talker(
    config: Qwen3_5OmniMoeConfig,
    talker: SupervisedStage[Stage],
    slots: SlotTracker,
    voices: Mapping[str, VoicePrompt],
    max_frames: int,
    prompt_alone: bool = False,
) -> AriaTalker:
    """The Talker of a checkpoint with `config`. It stays valid when `talker` restarts. `voices`: by id.

    `prompt_alone`: the prompt is always an input of its own.
    Raises `OperatorError` if a voice has more frames than `talker.media_rows` allows.
    """
    speech, model = config.talker_config, talker.engine.llm.model_config
    vocabulary: AriaVocabulary = model.hf_config.vocabulary
    for name, voice in voices.items():
        if len(voice.codes) > vocabulary.embedding_rows:
            frames, limit = len(voice.codes), vocabulary.embedding_rows
            raise OperatorError(f"the voice {name} has {frames} frames; talker.media_rows allows {limit}")
    ids = PromptIds.of(config)
    return AriaTalker(
        run_session=current_run_session(talker),
        slots=slots,
        vocabulary=vocabulary,
        ids=ids,
        controls=frozenset((*ids.controls, config.im_end_token_id)),
        voices=voices,
        size=ChunkSize(speech.text_tokens_per_chunk, speech.frames_per_chunk),
        layout=PromptLayout.of(config),
        codec_eos=speech.codec_eos_token_id,
        max_media_rows=speech.max_media_rows,
        max_frames=max_frames,
        max_tokens=model.max_model_len,
        prompt_alone=prompt_alone,
    )


class AriaSession:
    """One spoken answer; a `SpeechSession`."""

    def __init__(self, talker: AriaTalker, stream: StreamHandle, sampling: SpeechSampling) -> None:
        self._talker = talker
        self._stream = stream
        self._sampling = sampling
        self._unheard_tokens = 0
        self._text = TextChunker(
            talker.size.text, talker.ids.tts_eos, talker.vocabulary.text, controls=talker.controls
        )

    def add_text(self, token_ids: Sequence[int], *, final: bool) -> None:
        self._text.add_tokens(token_ids, final=final)

    async def generate_speech(self, prompt: HiddenStates) -> SpeechEnded:
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
        with talker.slots.lease_pages(pages_for(len(voice.codes) + len(aria.media_index))):
            return await self._run_session(inputs, self._start(aria, voice, prompt))

    def consumed_tokens(self, frames: int) -> int:
        return self._text.tokens_up_to(min(self._talker.size.text_before(frames), self._text.entered))

    def close_input(self) -> None:
        self._text.close()

    async def _run_session(self, inputs: AriaSessionInputs, start: AriaStart) -> SpeechEnded:
        """Counts the sampled tokens. Each output has those since the previous one, over all inputs."""
        tokens, reason = 0, None
        outputs = self._talker.run_session(
            self._session_inputs(inputs, start),
            self._params(max_tokens=1),
            f"{self._stream.request_id}-speech",
        )
        async with aclosing(outputs):
            async for output in outputs:
                mark_engine_times(self._stream.on_mark, "talker", output)
                for choice in output.outputs:
                    tokens += len(choice.token_ids)
                    reason = choice.finish_reason
                    # A session continues after each input's end; after an error it would wait without end.
                    if reason not in (None, "stop", "length"):
                        return speech_ended(reason, tokens - self._unheard_tokens)
        if not self._text.entered:
            return SpeechEnded("stop", 0)
        return speech_ended(reason, tokens - self._unheard_tokens)

    async def _session_inputs(
        self, inputs: AriaSessionInputs, start: AriaStart
    ) -> AsyncGenerator[StreamingInput]:
        """The session's inputs, ahead of their frames. vLLM keeps and extends the lists that it receives.

        If the first chunk is not known yet, the prompt is computed while its text is generated; always with
        `prompt_alone`, so that the engine's inputs do not depend on when the text comes. After an
        abort the generator neither yields nor ends: vLLM would take either for a new request.
        """
        opening = {EXTRA_ARG: msgspec.msgpack.encode(start)}
        if self._talker.prompt_alone or not self._text.has_chunk:
            self._unheard_tokens, prompt = UNHEARD_TOKENS, inputs.prompt()
            start = msgspec.structs.replace(start, unheard_tokens=UNHEARD_TOKENS)
            opening = {EXTRA_ARG: msgspec.msgpack.encode(start)}
            yield StreamingInput(tokens_input(prompt.token_ids), self._params(prompt.frames, opening))
            opening = {}
        asked = False
        async with aclosing(self._text.chunks()) as chunks:
            async for chunk in chunks:
                added = inputs.add(chunk)
                if added is None:
                    break
                if not asked and self._stream.on_mark is not None:
                    self._stream.on_mark("talker_asked", time.monotonic())
                asked = True
                yield StreamingInput(tokens_input(added.token_ids), self._params(added.frames, opening))
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
            slot=self._stream.slot,
            voice=talker.voices[self._sampling.voice],
            max_media_rows=talker.max_media_rows,
            layout=talker.layout,
        )

    def _start(self, aria: AriaPrompt, voice: VoicePrompt, prompt: HiddenStates) -> AriaStart:
        return AriaStart(
            stream=self._stream.number,
            slot=self._stream.slot,
            voice_codes=voice.codes.astype(np.int16).tobytes(),
            hidden_states=_media_rows(prompt, aria.media_index),
            hidden_states_dtype=prompt.dtype,
            prompt_tokens=len(aria.token_ids),
            live=self._stream.live,
            sampling=stream_sampling(
                self._sampling,
                predictor_temperature=PREDICTOR_TEMPERATURE,
                predictor_top_p=PREDICTOR_TOP_P,
            ),
        )


def _media_rows(prompt: HiddenStates, media_index: NDArray[np.int32]) -> bytes:
    """The hidden states of the Talker prompt's media tokens. Both sides apply the model's own maximum.

    Raises InvalidRequest if there are more than the operator's `talker.media_rows` allows.
    """
    received = np.frombuffer(prompt.row_index, np.int32)
    if len(received) > len(media_index):
        limit = len(media_index)
        raise InvalidRequest(
            f"the conversation has {len(received)} media tokens; a spoken answer allows {limit}"
        )
    if not np.array_equal(received, media_index):
        raise RuntimeError("the hidden states received are not those of the Talker's prompt")
    return prompt.rows
