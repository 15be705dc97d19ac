"""Qwen3-Omni's streams: text is a track beside the frames, and each frame waits for its text row.

The model reads the track by slot and frame; the scheduler appends text and asks whether a frame is ready.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import torch

from antiphon_executor.models.talker.slots import NewStream, SlotPool, StreamStart
from antiphon_executor.models.talker.step_rows import StepRows
from antiphon_executor.models.talker.streams import FrameDraws
from antiphon_executor.models.talker.upload import numbers


@dataclass(slots=True)
class _HostStream:
    """The host's part of an open slot's state."""

    positions: torch.Tensor
    position_delta: int
    text_len: int = 0
    final: bool = False


class DualTrackStreams:
    """`track` int64 [slots, max_frames + 1]: text ids by frame, tts_pad after the last.

    `project_media`: [rows, thinker_hidden] → [rows, hidden]; called once, when a stream opens.
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
        self._unwritten: list[tuple[int, int, int]] = []

    def is_open(self, stream: int) -> bool:
        return self.pool.slot_of(stream) is not None

    @torch.no_grad()  # otherwise the prompt embeddings would keep the autograd graph of every prompt
    def open(self, packed: bytes) -> None:
        start = msgspec.msgpack.decode(packed, type=StreamStart)
        positions = torch.from_numpy(np.frombuffer(start.positions, np.int32).reshape(3, -1).astype(np.int64))
        media = self.pool.rows_of(start.hidden_states, start.hidden_states_dtype, self._thinker_hidden)
        embeddings = self._project_media(media)
        self.pool.open(NewStream(start.stream, start.slot, positions.shape[1], start.sampling, embeddings))
        self.track[start.slot] = self._tts_pad
        self._host[start.slot] = _HostStream(positions, start.position_delta)
        self.append_text(start.stream, start.text_ids, final=start.text_final)
        self.write_text()

    def append_text(self, stream: int, text_ids: list[int], *, final: bool) -> None:
        """Adds to an open stream's text; ids beyond `max_frames` are dropped. `write_text` must follow."""
        slot = self.pool.slot_of(stream)
        if slot is None:
            raise KeyError(stream)
        host = self._host[slot]
        begin = host.text_len
        end = min(begin + len(text_ids), self.track.shape[1])
        # An id that no int64 holds raises here, where it fails one stream only.
        ids = array("q", text_ids[: end - begin])
        self._unwritten += [(slot, place, token) for place, token in enumerate(ids, start=begin)]
        host.text_len = end
        host.final = host.final or final

    def write_text(self) -> None:
        """Writes what was appended, of all streams at once; before the step that may read it."""
        if self._unwritten:
            slot, at, text = numbers(self._unwritten, self.pool.device).unbind(1)
            self.track[slot, at] = text
            self._unwritten.clear()

    def is_ready(self, slot: int, frame: int) -> bool:
        """Whether the text row that frame `frame` needs has arrived, or the text is complete."""
        host = self._host.get(slot)
        return host is not None and (host.final or frame < host.text_len)

    def positions(self, slot: int) -> tuple[torch.Tensor, int] | None:
        """A stream's packed TM-RoPE positions, int64 [3, prompt_tokens], and its decoding delta.

        None if no stream is open in the slot.
        """
        host = self._host.get(slot)
        return None if host is None else (host.positions, host.position_delta)

    def close(self, slot: int) -> None:
        if self.pool.close(slot):
            del self._host[slot]
            self._unwritten = [one for one in self._unwritten if one[0] != slot]
            self.track[slot] = self._tts_pad

    def draws(self, rows: StepRows) -> FrameDraws:
        """Every row after the prompt draws; EOS is always allowed; the repetition window never restarts."""
        frame = rows.seq_len - self.pool.prompt_len[rows.slot]
        never = torch.zeros_like(frame, dtype=torch.bool)
        return FrameDraws(frame=frame, may_end=~never, restarts=never)
