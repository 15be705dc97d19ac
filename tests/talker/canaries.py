"""The Talker's worker without vLLM: slots, streams, code predictor, vocoder, and a backbone of one sum.

Generates short, distinct streams ("canaries"), alone or sharing a few slots. The backbone adds up everything
that a row reads from its slot, so state that leaks from one stream into another changes a code.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import numpy as np
import torch
from torch import nn

from antiphon_executor.ipc.frame_sender import StepFrames
from antiphon_executor.models.aria.order import AriaOrder
from antiphon_executor.models.aria.prompt import AriaStart
from antiphon_executor.models.aria.streams import AriaStreams
from antiphon_executor.models.code2wav.code2wav import StreamingCode2Wav
from antiphon_executor.models.qwen3_omni.dual_track_streams import DualTrackStreams
from antiphon_executor.models.talker.code_predictor import CodePredictor
from antiphon_executor.models.talker.frame_step import FrameStep, SpeechHead
from antiphon_executor.models.talker.sampling import StreamSampling
from antiphon_executor.models.talker.slots import SlotPool, SlotShape, StreamStart
from antiphon_executor.models.talker.step_rows import StepRows
from tests.talker.test_code_predictor import SMALL, configuration, pair
from tests.talker.vocoder_oracle import SIZES, random_code2wav

# How many; `make canaries` sets it.
COUNT = int(os.environ.get("ANTIPHON_CANARIES", "150"))
HIDDEN, GROUPS, CODES, TAIL, EOS = 32, 4, 64, 8, 66
TEXTS, END, PAD, PROMPT = 200, 198, 199, 5
FRAMES, GIVEN_ROWS, LEAVING = 8, 2_560, 0.05


@dataclass(frozen=True)
class Canary:
    """`voice` int16 [frames, groups], of ARIA; `own`: what the backbone's cache holds of the stream."""

    number: int
    text: tuple[int, ...]
    media: np.ndarray
    voice: np.ndarray
    own: torch.Tensor
    sampling: StreamSampling
    frames: int
    leaves_after: int | None


@dataclass
class Song:
    """`codes`, `pcm`: of a frame each."""

    codes: list[bytes] = field(default_factory=list)
    pcm: list[np.ndarray] = field(default_factory=list)
    ended: bool = False


def canary(number: int) -> Canary:
    rng = np.random.default_rng(number)
    return Canary(
        number=number,
        text=(*rng.integers(0, END, int(rng.integers(1, 7))).tolist(), END),
        media=rng.standard_normal((int(rng.integers(0, 100)), HIDDEN), dtype=np.float32),
        voice=rng.integers(0, CODES, (3, GROUPS)).astype(np.int16),
        own=torch.from_numpy(rng.standard_normal(HIDDEN, dtype=np.float32)),
        sampling=StreamSampling(seed=number, temperature=float(rng.choice([0.0, 0.9]))),
        frames=int(rng.integers(3, FRAMES)),
        leaves_after=int(rng.integers(0, 3)) if rng.random() < LEAVING else None,
    )


class Family(Protocol):
    """How text enters."""

    def open(self, one: Canary, slot: int) -> None: ...

    def rows(self, singing: Sequence[Canary], slots: torch.Tensor, places: torch.Tensor) -> StepRows: ...

    def text_rows(self, rows: StepRows) -> torch.Tensor: ...

    @property
    def streams(self) -> DualTrackStreams | AriaStreams: ...


class Weights:
    """Shared by all workers of a test."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.text = torch.randn(TEXTS, HIDDEN)
        self.codes = torch.randn(GROUPS, CODES + TAIL, HIDDEN)
        self.mix = torch.randn(HIDDEN, HIDDEN) * HIDDEN**-0.5
        self.head = nn.Linear(HIDDEN, CODES + TAIL, bias=False)
        # Some streams are to end by themselves.
        self.head.weight.data[EOS] *= 2.5
        sizes = SMALL | {"vocab_size": CODES, "num_code_groups": GROUPS, "hidden_size": HIDDEN}
        oracle, _ = pair(sizes, seed=1)
        self.predictor = CodePredictor(configuration(sizes))
        self.predictor.load_weights(oracle.state_dict().items())
        self.code2wav = random_code2wav(SIZES["unit"], seed=0).state_dict()

    def frames(self, codes: torch.Tensor) -> torch.Tensor:
        """int64 [n, groups] → [n, hidden]"""
        return sum((self.codes[group][codes[:, group]] for group in range(GROUPS)), torch.zeros(1))


class Worker:
    """`slots` streams at once at most, of one family."""

    def __init__(self, weights: Weights, slots: int, *, aria: bool) -> None:
        self.weights = weights
        self.free = list(range(slots, 0, -1))
        self.sent: list[StepFrames] = []
        vocoder = StreamingCode2Wav(SIZES["unit"], slots=slots + 1)
        vocoder.load_state_dict(weights.code2wav)
        self.pool = SlotPool(
            SlotShape(slots + 1, FRAMES + 2, GROUPS, CODES + TAIL, HIDDEN, GIVEN_ROWS),
            dtype=torch.float32,
            device=torch.device("cpu"),
            reset_vocoder=vocoder.reset,
        )
        self.family: Family = _Aria(self) if aria else _DualTrack(self)
        head = SpeechHead(
            codec_head=weights.head,
            embed_code0=lambda code: weights.codes[0][code],
            predictor=weights.predictor,
            vocoder=vocoder,
            codec_eos=EOS,
            suppressed_tail=TAIL,
        )
        self.step = FrameStep(head, self.family.streams, self, slots + 1)  # type: ignore[arg-type]

    def send(self, step: StepFrames) -> None:
        """In place of the sender."""
        self.sent.append(step)

    @torch.inference_mode()
    def sing(self, flock: Sequence[Canary]) -> dict[int, Song]:
        """As many at once as there are slots. → by number, of those that stay."""
        waiting, songs = list(reversed(flock)), {one.number: Song() for one in flock}
        singing: dict[int, Canary] = {}
        places: dict[int, int] = {}
        while waiting or singing:
            while waiting and self.free:
                one, slot = waiting.pop(), self.free.pop()
                self.family.open(one, slot)
                singing[slot], places[slot] = one, -1
            self._step(singing, places, songs)
            for slot, one in list(singing.items()):
                song = songs[one.number]
                places[slot] += 1
                assert places[slot] < 4 * FRAMES, f"stream {one.number} stands still"
                gone = one.leaves_after is not None and places[slot] > one.leaves_after
                if song.ended or gone or len(song.codes) >= one.frames:
                    self.family.streams.close(slot)
                    self.free.append(slot)
                    del singing[slot]
        return {one.number: songs[one.number] for one in flock if one.leaves_after is None}

    def _step(self, singing: dict[int, Canary], places: dict[int, int], songs: dict[int, Song]) -> None:
        slots = torch.tensor(list(singing))
        flock = list(singing.values())
        rows = self.family.rows(flock, slots, torch.tensor([places[slot] for slot in singing]))
        self.step.begin(rows)
        given = self.pool.prompt_embeddings.gather(slots, (rows.seq_len * 7) % 100)
        own = torch.stack([one.own for one in flock])
        summed = self.family.text_rows(rows) + given + own
        self.step.finish(torch.tanh(summed @ self.weights.mix) * 3)
        sent = self.sent.pop()
        for row, stream in enumerate(sent.stream.tolist()):
            if stream < 0:
                continue
            song = songs[stream]
            song.ended = bool(sent.ended[row])
            if not song.ended:
                assert int(sent.frame[row]) == len(song.codes)
                song.codes.append(sent.codes[row].numpy().tobytes())
                song.pcm.append(sent.pcm[row].numpy().copy())


class _DualTrack:
    """A row a frame; text in the slot's track."""

    def __init__(self, worker: Worker) -> None:
        self._weights = worker.weights
        self._pool = worker.pool
        self._streams = DualTrackStreams(
            worker.pool, tts_pad=PAD, thinker_hidden=HIDDEN, project_media=lambda media: media
        )

    @property
    def streams(self) -> DualTrackStreams:
        return self._streams

    def open(self, one: Canary, slot: int) -> None:
        positions = np.zeros((3, PROMPT), np.int32).tobytes()
        start = StreamStart(
            one.number,
            slot,
            positions,
            0,
            one.media.tobytes(),
            "float32",
            list(one.text[:1]),
            False,
            one.sampling,
        )
        self._streams.open(msgspec.msgpack.encode(start))
        self._streams.append_text(one.number, list(one.text[1:]), final=True)
        self._streams.write_text()

    def rows(self, singing: Sequence[Canary], slots: torch.Tensor, places: torch.Tensor) -> StepRows:
        index = self._pool.prompt_len[slots] + places
        return StepRows(slots, index + 1, torch.arange(len(slots)), index)

    def text_rows(self, rows: StepRows) -> torch.Tensor:
        frame = rows.token_index - self._pool.prompt_len[rows.slot]
        text = self._weights.text[self._streams.track[rows.slot, (frame + 1).clamp(0, FRAMES)]]
        codes = self._pool.history[rows.slot, frame.clamp(0, FRAMES)].to(torch.int64)
        return text + self._weights.frames(codes) * (frame >= 0).unsqueeze(1)


class _Aria:
    """Text and frames in one row of places; the voice among the given rows."""

    def __init__(self, worker: Worker) -> None:
        self._weights = worker.weights
        self._pool = worker.pool
        self._order = AriaOrder(4, 4)
        self._streams = AriaStreams(
            worker.pool,
            self._order,
            end_token=END,
            thinker_hidden=HIDDEN,
            embed_prompt=lambda voice, media: torch.cat((worker.weights.frames(voice), media)),
        )
        self._token = torch.zeros(0)

    @property
    def streams(self) -> AriaStreams:
        return self._streams

    def open(self, one: Canary, slot: int) -> None:
        start = AriaStart(
            one.number, slot, one.voice.tobytes(), one.media.tobytes(), "float32", PROMPT, one.sampling
        )
        self._streams.open(msgspec.msgpack.encode(start))

    def rows(self, singing: Sequence[Canary], slots: torch.Tensor, places: torch.Tensor) -> StepRows:
        index = self._pool.prompt_len[slots] + places
        rows = StepRows(slots, index + 1, torch.arange(len(slots)), index)
        totals = torch.tensor([len(one.text) for one in singing])
        entered = self._order.text_before(places, totals)
        is_text = self._order.is_text(places, totals) & (places >= 0)
        texts = [
            one.text[at] if at < len(one.text) else 0
            for one, at in zip(singing, entered.tolist(), strict=True)
        ]
        self._token = torch.where(is_text, torch.tensor(texts), -1)
        self._streams.enter(rows, self._token)
        return rows

    def text_rows(self, rows: StepRows) -> torch.Tensor:
        offset = rows.token_index - self._pool.prompt_len[rows.slot]
        frame = self._streams.frame_at(rows.slot, offset).clamp(0, FRAMES)
        codes = self._pool.history[rows.slot, frame].to(torch.int64)
        is_text = (self._token >= 0).unsqueeze(1)
        text = self._weights.text[self._token.clamp(min=0)]
        return torch.where(is_text, text, self._weights.frames(codes))


def shuffled(flock: Sequence[Canary], seed: int) -> list[Canary]:
    order = list(flock)
    random.Random(seed).shuffle(order)
    return order


def different(one: Song, other: Song) -> bool:
    """Codes must be equal; audio may differ by float rounding, one or two of 32,768."""
    if one.codes != other.codes or one.ended != other.ended:
        return True
    return any(np.abs(a.astype(np.int32) - b).max() > 2 for a, b in zip(one.pcm, other.pcm, strict=True))
