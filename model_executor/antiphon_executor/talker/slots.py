"""What every spoken stream keeps in the Talker's worker, by slot, on the device.

In: a stream's start, its text as it arrives. Out: tensors that the model indexes by slot, and whether a
stream's next frame may be computed yet. A slot is zeroed as a stream opens and again as it closes. Never
schedules, never talks to a socket.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import torch

from antiphon_executor.talker.media_arena import MediaArena
from antiphon_executor.talker.sampling import SlotSampling, StreamSampling

TRASH_SLOT = 0
EXTRA_ARG = "antiphon_stream"


class StreamStart(msgspec.Struct, frozen=True):
    """How a stream opens; travels msgpack-encoded with its request, as `extra_args[EXTRA_ARG]`.

    `positions`: packed (`rope.pack`), int32 [3, prompt_tokens]. `media_rows`: [num_rows,
    thinker_hidden] of `media_dtype`.
    `text_ids`: the text track so far; `text_final` where nothing follows.
    """

    stream: int
    slot: int
    positions: bytes
    position_delta: int
    media_rows: bytes
    media_dtype: str
    text_ids: list[int]
    text_final: bool
    sampling: StreamSampling


@dataclass(frozen=True, slots=True)
class SlotShape:
    """Sizes of the pool. `slots` counts the trash slot 0, to which a batch's padding rows point."""

    slots: int
    max_frames: int
    code_groups: int
    codec_vocab: int
    hidden: int
    thinker_hidden: int
    media_rows: int
    tts_pad: int


@dataclass(slots=True)
class _HostStream:
    """The host's side of an open slot."""

    stream: int
    positions: torch.Tensor
    position_delta: int
    text_len: int = 0
    final: bool = False


class SlotPool:
    """Device tensors [slots, ...]: the text track, the code history, counters and sampling parameters.

    `track` int64 [slots, max_frames + 1]: text ids by frame, tts_pad where there is no more.
    `history` int16 [slots, max_frames, code_groups]: codes of the frames made so far (DESIGN: history in the
    slot), from which a preempted stream rebuilds the same inputs. `frames` int64 [slots]: how many.
    `seen` bool [slots, codec_vocab]: code-0 ids drawn so far. `ended` bool [slots]: EOS was drawn.
    """

    def __init__(
        self,
        shape: SlotShape,
        *,
        dtype: torch.dtype,
        device: torch.device,
        project_media: Callable[[torch.Tensor], torch.Tensor],
        reset_vocoder: Callable[[torch.Tensor], None],
    ) -> None:
        self.shape = shape
        self.device = device
        self._dtype = dtype
        self._project_media = project_media
        self._reset_vocoder = reset_vocoder
        n = shape.slots
        self.track = torch.full((n, shape.max_frames + 1), shape.tts_pad, dtype=torch.int64, device=device)
        self.history = torch.zeros(n, shape.max_frames, shape.code_groups, dtype=torch.int16, device=device)
        self.frames = torch.zeros(n, dtype=torch.int64, device=device)
        self.prompt_len = torch.zeros(n, dtype=torch.int64, device=device)
        self.stream = torch.full((n,), -1, dtype=torch.int64, device=device)
        self.seen = torch.zeros(n, shape.codec_vocab, dtype=torch.bool, device=device)
        self.ended = torch.zeros(n, dtype=torch.bool, device=device)
        self.sampling = SlotSampling.empty(n, device)
        self.media = MediaArena(n, shape.media_rows, shape.hidden, dtype=dtype, device=device)
        self._open: dict[int, _HostStream] = {}
        self._slot_of: dict[int, int] = {}

    @property
    def used(self) -> int:
        return len(self._open)

    def is_open(self, stream: int) -> bool:
        return stream in self._slot_of

    def open(self, start: StreamStart) -> None:
        """Takes a slot for a stream. Raises `ValueError` where it is not free, `ArenaFull` for its media."""
        if start.slot in self._open or not TRASH_SLOT < start.slot < self.shape.slots:
            raise ValueError(f"slot {start.slot} cannot be opened")
        positions = torch.from_numpy(np.frombuffer(start.positions, np.int32).reshape(3, -1).astype(np.int64))
        self._zero(start.slot)
        if start.media_rows:
            self.media.store(start.slot, self._projected(start))
        host = _HostStream(start.stream, positions, start.position_delta)
        self._open[start.slot] = host
        self._slot_of[start.stream] = start.slot
        self.prompt_len[start.slot] = positions.shape[1]
        self.stream[start.slot] = start.stream
        self.sampling.put(start.slot, start.sampling)
        self.append_text(start.stream, start.text_ids, final=start.text_final)

    def append_text(self, stream: int, text_ids: list[int], *, final: bool) -> None:
        """Adds to an open stream's text track; what lies beyond `max_frames` can never be spoken."""
        slot = self._slot_of[stream]
        host = self._open[slot]
        begin = host.text_len
        end = min(begin + len(text_ids), self.track.shape[1])
        if end > begin:
            self.track[slot, begin:end] = torch.tensor(text_ids[: end - begin], device=self.device)
        host.text_len = end
        host.final = host.final or final

    def ready(self, slot: int, frame: int) -> bool:
        """Whether the text row that frame `frame` needs is there: never speak ahead of the text."""
        host = self._open.get(slot)
        return host is not None and (host.final or frame < host.text_len)

    def positions(self, slot: int) -> tuple[torch.Tensor, int]:
        """Packed TM-RoPE positions int64 [3, prompt_tokens] of a stream, and what decoding adds."""
        host = self._open[slot]
        return host.positions, host.position_delta

    def close(self, slot: int) -> None:
        """Frees a slot; nothing of the stream stays behind."""
        host = self._open.pop(slot, None)
        if host is None:
            return
        del self._slot_of[host.stream]
        self.media.release(slot)
        self._zero(slot)

    def _projected(self, start: StreamStart) -> torch.Tensor:
        dtype = getattr(torch, start.media_dtype)
        rows = torch.frombuffer(bytearray(start.media_rows), dtype=dtype).view(-1, self.shape.thinker_hidden)
        return self._project_media(rows.to(self.device, self._dtype))

    def _zero(self, slot: int) -> None:
        self.track[slot] = self.shape.tts_pad
        self.history[slot] = 0
        self.frames[slot] = 0
        self.prompt_len[slot] = 0
        self.stream[slot] = -1
        self.seen[slot] = False
        self.ended[slot] = False
        self._reset_vocoder(torch.tensor([slot], device=self.device))
