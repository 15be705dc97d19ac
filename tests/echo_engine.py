"""An `OmniEngine` without vLLM: it repeats the user's text and speaks it as a sine tone.

Requests use the tokenizer of `tiny_checkpoint`. Each has its own tone (`tone_hz`), so that tests can identify
streams by FFT. A `Script` adds faults, delays and hangs at any event.
"""

from __future__ import annotations

import asyncio
import math
import re
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from tokenizers import Tokenizer

from antiphon_executor.interface.capacity import FrameTime
from antiphon_executor.interface.card import ModelCard, Voice
from antiphon_executor.interface.errors import EngineDead
from antiphon_executor.interface.event_stream import EventStream
from antiphon_executor.interface.events import (
    OUTPUT_SAMPLE_RATE_HZ,
    SAMPLES_PER_FRAME,
    FinishReason,
    OmniEvent,
    PromptCounted,
    PromptProgress,
    SpeechDelta,
    SpeechEnded,
    TextDelta,
    TextEnded,
    TokenLogprob,
)
from antiphon_executor.interface.media import Media, SampleWriter, VideoClip
from antiphon_executor.interface.request import (
    OmniRequest,
    ReadingRequest,
    RepetitionDetection,
    SpeechSampling,
    TextSampling,
    TokensAhead,
)
from antiphon_executor.interface.status import EngineStatus

LOOK_AHEAD_SAMPLES = 555
_CONTEXT_TOKENS = 4096
_RUNNING_METRICS = {
    "thinker": "vllm:num_requests_running",
    "talker": "antiphon_talker_num_requests_running",
}
VOICES = ("ethan", "chelsie", "aiden")
VOICE_TABLE = (
    Voice("ethan", "Ethan", language="en", licence="CC0-1.0", default=True),
    *(Voice(name, name) for name in VOICES[1:]),
)


@dataclass(frozen=True, slots=True)
class Script:
    """Deviations from the plain echo. Events count from 0; `fault_at` raises in place of that event.

    A request hangs before `hang_at` until `resumed` is set.
    """

    fault_at: int | None = None
    fault: BaseException = field(default_factory=lambda: RuntimeError("scripted fault at /secret/place"))
    hang_at: int | None = None
    resumed: asyncio.Event = field(default_factory=asyncio.Event)
    delay_s: float = 0.0
    delays_s: Mapping[int, float] = field(default_factory=dict)
    answer: str | None = None
    progress: tuple[int, ...] = ()
    max_frames: int | None = None

    async def before(self, event: int) -> None:
        if event == self.hang_at:
            await self.resumed.wait()
        await asyncio.sleep(self.delays_s.get(event, self.delay_s))
        if event == self.fault_at:
            raise self.fault


def echo_card(folder: Path, *, speaks: bool = True) -> ModelCard:
    return ModelCard(
        name="echo",
        family="echo",
        path=folder,
        context_tokens=_CONTEXT_TOKENS,
        input_modalities=("text", "audio", "image", "video"),
        voice_table=VOICE_TABLE if speaks else (),
        random_weights=False,
        sampling=TextSampling(
            temperature=0.7, top_p=0.8, top_k=20, repetition_detection=RepetitionDetection(24, 3, 4)
        ),
    )


def tone_hz(request_id: str, voice: str) -> int:
    """The tone of one stream: 307 to 5,282 Hz in steps of 25 Hz. Frames of 80 ms never repeat in phase."""
    return 307 + 25 * (zlib.crc32(f"{voice}/{request_id}".encode()) % 200)


def sine_pcm(hz: int, start_sample: int, num_samples: int) -> bytes:
    """s16le samples `[start_sample, start_sample + num_samples)` of one endless sine."""
    t = (np.arange(num_samples) + start_sample) / OUTPUT_SAMPLE_RATE_HZ
    return (np.sin(2 * np.pi * hz * t) * 12_000).astype("<i2").tobytes()


class EchoReadAhead:
    """It reads nothing, and counts how often it is stopped."""

    tokens_read = 50

    def __init__(self, request: OmniRequest, key: str, video: VideoClip | None = None) -> None:
        self.request = request
        self.key = key
        self.video = video
        self.frames: list[int] = []
        self.writer = SampleWriter()
        self.rests = self.stopped = 0

    def frames_written(self, frames: int) -> None:
        self.frames.append(frames)

    async def read_rest(self) -> None:
        self.rests += 1

    async def stop(self) -> TokensAhead:
        self.stopped += 1
        return TokensAhead(read=100, found=7)


class EchoEngine:
    """`OmniEngine` of the tests. `spoken` is the generated speech, `heard` the consumed samples.

    `frame_time` is the Talker step time in its status.

    A request plays the next of `scripts`, or the one of `cues` for its text, or `script`.
    """

    def __init__(
        self, folder: Path, *, speaks: bool = True, frames_per_piece: int = 2, frames_per_delta: int = 1
    ):
        self._card = echo_card(folder, speaks=speaks)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._frames_per_piece = frames_per_piece
        self._frames_per_delta = frames_per_delta
        self.script = Script()
        self.scripts: deque[Script] = deque()
        self.cues: dict[str, Script] = {}
        self.requests: deque[OmniRequest] = deque(maxlen=256)
        self.readings: deque[ReadingRequest] = deque(maxlen=256)
        self.read_aheads: list[EchoReadAhead] = []
        self.spoken: dict[str, bytes] = {}
        self.heard: dict[str, int] = {}
        self.running = 0
        self.started = 0
        self.finished = 0
        self.aborted = 0
        self.failed = 0
        self.closed = False
        self.frame_time = FrameTime()
        self._stages = {"thinker": True, "talker": True} if speaks else {"thinker": True}
        self.stuck: dict[str, str] = {}
        self._given_up: list[str] = []
        self._restarts = dict.fromkeys(self._stages, 0)

    @property
    def card(self) -> ModelCard:
        return self._card

    def generate(self, request: OmniRequest) -> EventStream:
        return EventStream.of(self.events_of(request))

    def read_aloud(self, request: ReadingRequest) -> EventStream:
        return EventStream.of(self.readings_of(request))

    async def events_of(self, request: OmniRequest) -> AsyncGenerator[OmniEvent]:
        """Closing it counts as an abort."""
        script = self.scripts.popleft() if self.scripts else self.cues.get(self.text_of(request), self.script)
        self.requests.append(request)
        played = self._play(self._events(request, script), script, request.speech is not None)
        async with aclosing(played) as events:
            async for event in events:
                yield event

    async def readings_of(self, request: ReadingRequest) -> AsyncGenerator[OmniEvent]:
        """As `events_of`, for a text to read aloud."""
        text = self._tokenizer.decode([token for piece in request.pieces for token in piece])
        script = self.scripts.popleft() if self.scripts else self.cues.get(text, self.script)
        self.readings.append(request)
        async with aclosing(self._play(self._reading(request, script), script, None)) as events:
            async for event in events:
                yield event

    def _reading(self, request: ReadingRequest, script: Script) -> Iterator[OmniEvent]:
        speaker = _Speaker(request.request_id, request.speech, script, self._frames_per_delta)
        for number, _ in enumerate((token for piece in request.pieces for token in piece), start=1):
            yield from speaker.speak(self._frames_per_piece, number)
        self.spoken[request.request_id] = bytes(speaker.pcm)
        yield speaker.end()

    async def _play(
        self, events: Iterator[OmniEvent], script: Script, speaks: bool | None
    ) -> AsyncGenerator[OmniEvent]:
        """`speaks`: None if it needs the Talker alone."""
        self.running += 1
        self.started += 1
        try:
            for number, event in enumerate(events):
                await script.before(number)
                self._check_alive(speaks)
                yield event
            self.finished += 1
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted += 1
            raise
        except BaseException:
            self.failed += 1
            raise
        finally:
            self.running -= 1

    def clip_writer(self, window_s: int | None = None, folder: Path | None = None) -> SampleWriter:
        return SampleWriter()

    def read_ahead(self, request: OmniRequest, key: str, folder: Path | None = None) -> EchoReadAhead:
        self.read_aheads.append(EchoReadAhead(request, key))
        return self.read_aheads[-1]

    def read_video_ahead(
        self, request: OmniRequest, key: str, video: VideoClip, samples: int, folder: Path | None = None
    ) -> EchoReadAhead:
        self.read_aheads.append(EchoReadAhead(request, key, video))
        return self.read_aheads[-1]

    def report_consumed(self, request_id: str, samples: int) -> None:
        self.heard[request_id] = samples

    def status(self) -> EngineStatus:
        stages, busy = dict(self._stages), self.running
        given_up, restarts = tuple(self._given_up), dict(self._restarts)
        return EngineStatus(
            stages, busy, busy, busy, 16, given_up, restarts, frame_time=self.frame_time, stuck=self.stuck
        )

    def metrics(self) -> Iterable[Metric]:
        for name in (_RUNNING_METRICS[stage] for stage in self._stages):
            yield GaugeMetricFamily(name, "Requests in execution.", value=self.running)

    async def close(self) -> None:
        self.closed = True

    def kill(self, stage: str) -> None:
        """A stage dies and is not restarted: running and later requests raise `EngineDead`."""
        self._stages[stage] = False
        self._given_up.append(stage)

    def lose(self, stage: str) -> None:
        """A stage dies until it is restarted by `bring_back`."""
        self._stages[stage] = False

    def bring_back(self, stage: str) -> None:
        self._stages[stage] = True
        self._restarts[stage] += 1

    def text_of(self, request: OmniRequest) -> str:
        """The last user message of the prompt, without its media."""
        prompt = self._tokenizer.decode(list(request.prompt_token_ids), skip_special_tokens=False)
        said = prompt.split("<|im_start|>user\n")[-1].split("<|im_end|>\n<|im_start|>assistant")[0]
        return re.sub(r"<\|(vision|audio)_start\|><\|\w+_pad\|><\|\1_end\|>", "", said)

    def schema_text(self) -> str:
        """The JSON schema of the last request."""
        schema = self.requests[-1].text.schema
        assert schema is not None
        return schema.text

    def _check_alive(self, speaks: bool | None) -> None:
        needed = ("talker",) if speaks is None else ("thinker", "talker") if speaks else ("thinker",)
        for stage, alive in self._stages.items():
            if not alive and stage in needed:
                raise EngineDead(stage, None if stage in self._given_up else 30.0)

    def _events(self, request: OmniRequest, script: Script) -> Iterator[OmniEvent]:
        total = count_prompt(request).total
        yield from (PromptProgress(tokens, total) for tokens in script.progress)
        yield count_prompt(request)
        answer = self.text_of(request) if script.answer is None else script.answer
        pieces, reason = cut_answer(answer, request)
        speaker = None
        spoken_chars = len(answer)
        if request.unspoken_from is not None:
            spoken_chars = len(answer.partition("<tool_call>")[0].rstrip())
        if request.speech:
            speaker = _Speaker(request.request_id, request.speech, script, self._frames_per_delta)
        for number, piece in enumerate(pieces, start=1):
            for choice in range(request.text.choices):
                ends = (len("".join(pieces[:number])),) if speaker else ()
                logprobs = make_logprobs(piece, request.text.top_logprobs)
                ids = tuple(self._tokenizer.encode(piece, add_special_tokens=False).ids)
                yield TextDelta(choice, piece, 1, logprobs, ends, ids)
            if speaker and len("".join(pieces[: number - 1])) < spoken_chars:
                yield from speaker.speak(self._frames_per_piece, number)
        for choice in range(request.text.choices):
            yield TextEnded(choice, reason)
        if speaker:
            self.spoken[request.request_id] = bytes(speaker.pcm)
            yield speaker.end()


class _Speaker:
    """The sine of one stream: frame by frame, the first 555 samples short, as the real vocoder is."""

    def __init__(
        self, request_id: str, speech: SpeechSampling, script: Script, frames_per_delta: int
    ) -> None:
        self._hz = tone_hz(request_id, speech.voice)
        self._max_frames = script.max_frames or speech.max_frames
        self._frames_per_delta = frames_per_delta
        self._frames = 0
        self.pcm = bytearray()

    def speak(self, frames: int, text_tokens: int) -> Iterator[SpeechDelta]:
        while frames > 0 and self._frames < self._max_frames:
            step = min(frames, self._frames_per_delta, self._max_frames - self._frames)
            start = len(self.pcm) // 2
            self._frames += step
            frames -= step
            pcm = sine_pcm(self._hz, start, self._frames * SAMPLES_PER_FRAME - LOOK_AHEAD_SAMPLES - start)
            self.pcm += pcm
            yield SpeechDelta(pcm, step, text_tokens)

    def end(self) -> SpeechEnded:
        return SpeechEnded("length" if self._frames == self._max_frames else "stop", self._frames)


def cut_answer(answer: str, request: OmniRequest) -> tuple[list[str], FinishReason]:
    """Pieces of at most four characters, one token each, cut at stop strings and at `max_tokens`.

    They start again for `min_tokens`, and up to `max_tokens` with `ignore_eos`.
    """
    stops = [answer.find(stop) for stop in request.text.stop if stop in answer]
    kept = answer[: min(stops)] if stops else answer
    pieces = [kept[i : i + 4] for i in range(0, len(kept), 4)]
    room = _CONTEXT_TOKENS - len(request.prompt_token_ids)
    limit = min(request.text.max_tokens or room, room)
    least = limit if request.text.ignore_eos else min(request.text.min_tokens, limit)
    if pieces and len(pieces) < least:
        pieces = list(islice(cycle(pieces), least))
        return pieces, "length" if least == limit else "stop"
    if len(pieces) > limit:
        return pieces[:limit], "length"
    return pieces, "stop"


def make_logprobs(piece: str, top: int | None) -> tuple[TokenLogprob, ...]:
    if top is None:
        return ()
    best = tuple(TokenLogprob(f"alt{i}", f"alt{i}".encode(), -0.5 - i) for i in range(top))
    return (TokenLogprob(piece, piece.encode(), -0.5, best),)


def count_prompt(request: OmniRequest) -> PromptCounted:
    """Plausible counts: 13 tokens a second of sound, one per 32 x 32 pixels, two video frames to a patch."""
    media: Media = request.media
    audio = sum(math.ceil(clip.seconds * 13) for clip in media.audios)
    image = sum((p.pixels.shape[0] // 32) * (p.pixels.shape[1] // 32) for p in media.images)
    video = 0
    for clip in media.videos:
        frames, height, width = clip.frames.shape[:3]
        video += math.ceil(frames / 2) * (height // 32) * (width // 32)
        audio += math.ceil(clip.audio.seconds * 13) if clip.audio else 0
    placeholders = len(media.audios) + len(media.images) + len(media.videos)
    return PromptCounted(
        text=len(request.prompt_token_ids) - placeholders, audio=audio, image=image, video=video, cached=0
    )
