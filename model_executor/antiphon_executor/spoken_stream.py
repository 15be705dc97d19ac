"""One spoken answer, as the server sees it: the Thinker's token ids in, frames of sound out.

The Talker's request starts with the first token of text; from then on text goes to its scheduler and frames
come back out of band. Ends when the Talker has, and every frame has arrived.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import ExitStack, aclosing
from dataclasses import dataclass

import msgspec
import numpy as np
from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeConfig
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from antiphon_executor.bridge import Bridge
from antiphon_executor.messages import MediaRows, SpeechFrames
from antiphon_executor.prompt_ids import PromptIds
from antiphon_executor.protocol import FinishReason, SpeechDelta, SpeechEnded, SpeechSampling
from antiphon_executor.rope import pack, pack_offset, unpack
from antiphon_executor.slot_ledger import SlotLedger
from antiphon_executor.stage import Generate, Stage, generate_of
from antiphon_executor.supervised_stage import SupervisedStage
from antiphon_executor.talker.config import speakers
from antiphon_executor.talker.dual_track import TalkerPrompt, TalkerVocabulary, talker_prompt
from antiphon_executor.talker.media_arena import pages_for
from antiphon_executor.talker.sampling import StreamSampling
from antiphon_executor.talker.slots import EXTRA_ARG, StreamStart

SpeechEvent = SpeechDelta | SpeechEnded


@dataclass(frozen=True, slots=True)
class TalkerEnd:
    """What a stream needs of the Talker engine: how to ask it, its vocabulary, the ids of the family."""

    generate: Generate
    vocabulary: TalkerVocabulary
    ids: PromptIds
    codec_eos: int
    speakers: dict[str, int]
    max_frames: int


def talker_end(config: Qwen3OmniMoeConfig, talker: SupervisedStage[Stage], max_frames: int) -> TalkerEnd:
    """The Talker of a checkpoint with `config`, whichever engine runs it."""
    return TalkerEnd(
        generate=generate_of(talker),
        vocabulary=talker.engine.llm.model_config.hf_config.vocabulary,
        ids=PromptIds.of(config),
        codec_eos=config.talker_config.codec_eos_token_id,
        speakers=speakers(config),
        max_frames=max_frames,
    )


@dataclass(frozen=True, slots=True)
class _Finished:
    """The Talker's request is over, and this many frames belong to it."""

    frames: int
    reason: FinishReason


class SpokenStream:
    """`feed` text as it comes; iterate `events`. Both run under one owner, which cancels them together."""

    def __init__(
        self,
        request_id: str,
        sampling: SpeechSampling,
        talker: TalkerEnd,
        bridge: Bridge,
        ledger: SlotLedger,
        slot: int,
    ) -> None:
        self._request_id = request_id
        self._sampling = sampling
        self._talker = talker
        self._bridge = bridge
        self._ledger = ledger
        self._slot = slot
        self._arrivals: asyncio.Queue[SpeechFrames | _Finished | Exception] = asyncio.Queue()
        self._number = bridge.open_stream(self._arrivals.put_nowait)
        self._prompt: asyncio.Future[MediaRows] = asyncio.get_running_loop().create_future()
        self._early: list[int] = []
        self._early_final = False
        self._started = False
        self._has_text = asyncio.Event()
        self._text_tokens = 0

    def begin(self, prompt: MediaRows) -> None:
        """The Thinker's prompt is known: its ids, its positions and the media rows, if any."""
        if not self._prompt.done():
            self._prompt.set_result(prompt)

    def feed(self, track_ids: list[int], text_tokens: int, *, final: bool) -> None:
        """More of the text track; `text_tokens` of `track_ids` are text, the rest its end marker."""
        self._text_tokens += text_tokens
        if self._started:
            self._bridge.send_text(self._number, track_ids, final=final)
            return
        self._early += track_ids
        self._early_final = final
        self._has_text.set()

    async def events(self) -> AsyncIterator[SpeechEvent]:
        """`SpeechDelta`s, then one `SpeechEnded`. Closing it aborts the Talker's request."""
        prompt = await self._prompt
        await self._has_text.wait()
        if self._early_final and not self._text_tokens:
            yield SpeechEnded("stop", 0)
            return
        talking = asyncio.create_task(self._talk(prompt), name=f"talk-{self._request_id}")
        try:
            async for event in self._ordered():
                yield event
        finally:
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)

    def close(self) -> None:
        self._bridge.close_stream(self._number)

    async def _talk(self, prompt: MediaRows) -> None:
        try:
            self._arrivals.put_nowait(await self._run_talker(prompt))
        except Exception as error:
            self._arrivals.put_nowait(error)

    async def _run_talker(self, media: MediaRows) -> _Finished:
        prompt = self._talker_prompt(media)
        with ExitStack() as leases:
            leases.enter_context(self._ledger.lease_pages(pages_for(len(prompt.media_index))))
            requests = self._talker.generate(
                {"prompt_token_ids": prompt.token_ids},
                self._sampling_params(prompt, media),
                f"{self._request_id}-speech",
            )
            self._started = True
            async with aclosing(requests):
                async for output in requests:
                    choice = output.outputs[0]
            match choice.finish_reason:
                case "stop":
                    return _Finished(len(choice.token_ids) - 1, "stop")
                case "length":
                    return _Finished(len(choice.token_ids), "length")
            raise RuntimeError(f"the Talker ended a stream: {choice.finish_reason}")

    def _talker_prompt(self, media: MediaRows) -> TalkerPrompt:
        ids = np.frombuffer(media.prompt_token_ids, np.int32)
        positions = unpack(np.frombuffer(media.positions, np.int32).reshape(3, -1))
        speaker = self._talker.speakers[self._sampling.voice]
        return talker_prompt(
            ids, positions, self._talker.ids, self._talker.vocabulary, slot=self._slot, speaker=speaker
        )

    def _sampling_params(self, prompt: TalkerPrompt, media: MediaRows) -> SamplingParams:
        start = StreamStart(
            stream=self._number,
            slot=self._slot,
            positions=pack(prompt.positions).tobytes(),
            position_delta=pack_offset(prompt.position_delta),
            media_rows=media.rows,
            media_dtype=media.dtype,
            text_ids=prompt.opening + self._early,
            text_final=self._early_final,
            sampling=stream_sampling(self._sampling),
        )
        return SamplingParams(
            temperature=0.0,
            max_tokens=min(self._sampling.max_frames, self._talker.max_frames),
            stop_token_ids=[self._talker.codec_eos],
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            extra_args={EXTRA_ARG: msgspec.msgpack.encode(start)},
        )

    async def _ordered(self) -> AsyncIterator[SpeechEvent]:
        sent = 0
        finished: _Finished | None = None
        while finished is None or sent < finished.frames:
            item = await self._arrivals.get()
            if isinstance(item, _Finished):
                finished = item
            elif isinstance(item, Exception):
                raise item
            elif not item.ended:
                sent += 1
                yield SpeechDelta(item.pcm, 1, min(sent, self._text_tokens))
        yield SpeechEnded(finished.reason, sent)


def stream_sampling(sampling: SpeechSampling) -> StreamSampling:
    """The worker's parameters of a stream; a seed is drawn where the client gave none."""
    seed = sampling.seed if sampling.seed is not None else secrets.randbits(62)
    return StreamSampling(
        seed=seed,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        repetition_penalty=sampling.repetition_penalty,
        predictor_top_k=sampling.predictor_top_k,
        predictor_top_p=sampling.predictor_top_p,
    )


def text_prompt(prompt_token_ids: list[int]) -> MediaRows:
    """A prompt without media, whose positions simply count."""
    ids = np.asarray(prompt_token_ids, np.int32)
    positions = np.broadcast_to(np.arange(len(ids), dtype=np.int32), (3, len(ids)))
    return MediaRows("", ids.tobytes(), positions.tobytes(), b"", b"", 0, "float32")
