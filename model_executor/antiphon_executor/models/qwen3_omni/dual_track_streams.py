"""Streams whose text stands on a track of its own, beside the frames: a frame waits for its text.

In: a stream's start, its text as it arrives. Out: the track that the model reads by slot and frame, and
whether a stream's next frame may be computed yet. Never schedules, never talks to a socket.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import torch

from antiphon_executor.models.talker.slots import NewStream, SlotPool, StreamStart
from antiphon_executor.models.talker.step_rows import StepRows
from antiphon_executor.models.talker.streams import FrameDraws


@dataclass(slots=True)
class _HostStream:
    """The host's side of an open slot."""

    positions: torch.Tensor
    position_delta: int
    text_len: int = 0
    final: bool = False


class DualTrackStreams:
    """`track` int64 [slots, max_frames + 1]: text ids by frame, tts_pad where there is no more.

    `project_media`: [rows, thinker_hidden] → [rows, hidden], once, as a stream opens.
    """

    def __init__(
        self,
        pool: SlotPool,
        *,
        tts_pad: int,
        thinker_hidden: int,
        project_media: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        self.pool = pool
        size = (pool.shape.slots, pool.shape.max_frames + 1)
        self.track = torch.full(size, tts_pad, dtype=torch.int64, device=pool.device)
        self._tts_pad = tts_pad
        self._thinker_hidden = thinker_hidden
        self._project_media = project_media
        self._host: dict[int, _HostStream] = {}

    def is_open(self, stream: int) -> bool:
        return self.pool.slot_of(stream) is not None

    @torch.no_grad()  # recorded, the arena would hold the graph of every prompt that was ever stored in it
    def open(self, packed: bytes) -> None:
        start = msgspec.msgpack.decode(packed, type=StreamStart)
        positions = torch.from_numpy(np.frombuffer(start.positions, np.int32).reshape(3, -1).astype(np.int64))
        media = self.pool.rows_of(start.media_rows, start.media_dtype, self._thinker_hidden)
        embeddings = self._project_media(media)
        self.pool.open(NewStream(start.stream, start.slot, positions.shape[1], start.sampling, embeddings))
        self.track[start.slot] = self._tts_pad
        self._host[start.slot] = _HostStream(positions, start.position_delta)
        self.append_text(start.stream, start.text_ids, final=start.text_final)

    def append_text(self, stream: int, text_ids: list[int], *, final: bool) -> None:
        """Adds to an open stream's text track; what lies beyond `max_frames` can never be spoken."""
        slot = self.pool.slot_of(stream)
        if slot is None:
            raise KeyError(stream)
        host = self._host[slot]
        begin = host.text_len
        end = min(begin + len(text_ids), self.track.shape[1])
        if end > begin:
            self.track[slot, begin:end] = torch.tensor(text_ids[: end - begin], device=self.pool.device)
        host.text_len = end
        host.final = host.final or final

    def is_ready(self, slot: int, frame: int) -> bool:
        """Whether the text row that frame `frame` needs is there: never speak ahead of the text."""
        host = self._host.get(slot)
        return host is not None and (host.final or frame < host.text_len)

    def positions(self, slot: int) -> tuple[torch.Tensor, int]:
        """Packed TM-RoPE positions int64 [3, prompt_tokens] of a stream, and what decoding adds."""
        host = self._host[slot]
        return host.positions, host.position_delta

    def close(self, slot: int) -> None:
        if self.pool.close(slot):
            del self._host[slot]
            self.track[slot] = self._tts_pad

    def draws(self, rows: StepRows) -> FrameDraws:
        """Every row behind the prompt draws; it may always end, and repetition counts from the beginning."""
        frame = rows.seq_len - self.pool.prompt_len[rows.slot]
        never = torch.zeros_like(frame, dtype=torch.bool)
        return FrameDraws(frame=frame, may_end=~never, restarts=never)
