"""Both engines as scripts, for tests of one request: what the Thinker says, and the Talker's frames."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import zmq.asyncio

from antiphon_executor.interface.media import Media, RgbImage
from antiphon_executor.ipc.bridge import Bridge, SocketFolder
from antiphon_executor.ipc.messages import HiddenStates, SpeechFrames
from antiphon_executor.models.qwen3_omni.vocabulary import TalkerVocabulary
from antiphon_executor.models.special_tokens import PromptIds
from antiphon_executor.models.talker.slots import EXTRA_ARG, StreamStart
from antiphon_executor.turn.dual_track_session import DualTrackTalker
from antiphon_executor.turn.request_context import RequestContext
from antiphon_executor.turn.slots import SlotTracker

IM_START, USER, ASSISTANT, IMAGE, END = 1, 2, 3, 4, 5
IDS = PromptIds(IM_START, USER, ASSISTANT, 6, IMAGE, 7, tts_pad=8, tts_bos=9, tts_eos=10)
PROMPT = (IM_START, USER, IMAGE, 20, IM_START, ASSISTANT, 21)
PICTURE = Media(images=(RgbImage(np.zeros((32, 32, 3), np.uint8)),))
FRAMES = 3
FULL_STOP = 40


def written(token_ids: list[int]) -> str:
    return "".join(f"<{token}>" for token in token_ids)


class Engines:
    """Both engines as scripts: the Thinker says two tokens and ends; the Talker sends its frames at once."""

    def __init__(self, folder: SocketFolder, bridge: Bridge) -> None:
        self.slots = SlotTracker(slots=1, pages=8)
        self.after_text: Callable[[], Any] = lambda: asyncio.sleep(0)
        self.fault: BaseException | None = None
        self.opening: tuple[int, ...] = ()
        self.tokens: tuple[int, ...] = (30, 31, END)
        self.finish = "stop"
        self.stop_reason: str | int | None = None
        self.talker_finish = "length"
        self.talker_ends = True
        self.after_frames: Callable[[], Any] = lambda: asyncio.sleep(0)
        self.slots_at_end: list[int] = []
        self.started: list[StreamStart] = []
        self._frames = self._push(folder.frames)
        self._rows = self._push(folder.hidden_states)
        vocabulary = TalkerVocabulary(codec=16, text=64, speakers=1, slots=2, media_rows=64)
        talker = DualTrackTalker(self.talk, bridge, self.slots, vocabulary, IDS, 15, {"ethan": 0}, FRAMES)
        self.context = RequestContext(
            self.think, lambda ids: "", IDS, frozenset({END}), talker, bridge, self.slots
        )

    def _push(self, address: str) -> Any:
        socket = zmq.asyncio.Context.instance().socket(zmq.PUSH)
        socket.connect(address)
        return socket

    async def think(self, prompt: Any, params: Any, request_id: str) -> AsyncIterator[Any]:
        for token in self.tokens:
            choice = SimpleNamespace(
                index=0, token_ids=[token] if token else [], text=f"<{token}>" if token else "",
                logprobs=None, finish_reason=self.finish if token == self.tokens[-1] else None,
                stop_reason=self.stop_reason,
            )  # fmt: skip
            prompt_ids = [*PROMPT, *self.opening]
            yield SimpleNamespace(prompt_token_ids=prompt_ids, num_cached_tokens=0, outputs=[choice])
        await self.after_text()
        if self.fault is not None:
            raise self.fault

    async def talk(self, prompt: Any, params: Any, request_id: str) -> AsyncIterator[Any]:
        start = msgspec.msgpack.decode(params.extra_args[EXTRA_ARG], type=StreamStart)
        self.started.append(start)
        try:
            for index in range(FRAMES):
                frame = SpeechFrames(start.stream, index, b"", bytes([index, 0]), ended=False)
                await self._frames.send(msgspec.msgpack.encode(frame))
            await self.after_frames()
        finally:
            await asyncio.sleep(0.01)
            self.slots_at_end.append(self.slots.used)
        codes = [0] * (FRAMES + (self.talker_finish == "stop"))
        choice = SimpleNamespace(token_ids=codes, finish_reason=self.talker_finish)
        if self.talker_ends:
            yield SimpleNamespace(outputs=[choice])

    async def send_rows(self, request_id: str) -> None:
        ids = np.array(PROMPT, np.int32)
        positions = np.tile(np.arange(len(ids), dtype=np.int32), (3, 1))
        row = np.ones(4, np.float32).tobytes()
        index = np.array([2], np.int32).tobytes()
        rows = HiddenStates(request_id, ids.tobytes(), positions.tobytes(), index, row, 4, "float32")
        await self._rows.send(msgspec.msgpack.encode(rows))

    def close(self) -> None:
        self._frames.close(linger=0)
        self._rows.close(linger=0)
