"""The state of all speech streams in the Talker's worker: device tensors indexed by slot, for all families.

A slot is zeroed when a stream opens and again when it closes. A family's own state is in its `Streams`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import torch
from transformers import PretrainedConfig

from antiphon_executor.models.talker.prompt_embeddings import PromptEmbeddings
from antiphon_executor.models.talker.sampling import SlotSampling, StreamSampling
from antiphon_executor.models.talker.upload import numbers, uploaded

PADDING_SLOT = 0
EXTRA_ARG = "antiphon_stream"


class StreamStart(msgspec.Struct, frozen=True):
    """The message that opens a stream with a text track: `extra_args[EXTRA_ARG]` of its request, msgpack.

    `positions`: packed (`packed_mrope.pack`), int32 [3, prompt_tokens]. `hidden_states`: [num_rows,
    thinker_hidden] of `hidden_states_dtype`. `text_ids`: the text so far; `text_final` if it is complete.
    `live`: the client plays while the stream is generated.
    """

    stream: int
    slot: int
    positions: bytes
    position_delta: int
    hidden_states: bytes
    hidden_states_dtype: str
    text_ids: list[int]
    text_final: bool
    sampling: StreamSampling
    live: bool = False


@dataclass(frozen=True, slots=True)
class SlotShape:
    """Sizes of the pool. `slots` includes slot 0, the padding slot, for the padding rows of a batch."""

    slots: int
    max_frames: int
    code_groups: int
    codec_vocab: int
    hidden: int
    embedding_rows: int

    @classmethod
    def of(cls, config: PretrainedConfig) -> SlotShape:
        """From a `TalkerConfig` or an `AriaTalkerConfig`."""
        return cls(
            slots=config.slots + 1,
            max_frames=config.max_frames,
            code_groups=config.code_groups,
            codec_vocab=config.codec_vocab_size,
            hidden=config.hidden_size,
            embedding_rows=config.max_media_rows,
        )


@dataclass(frozen=True, slots=True, eq=False)
class NewStream:
    """What a stream of any family opens with. `prompt_tokens`: tokens before its first generated row.

    `embeddings` [rows, hidden]: the prompt rows that no embedding table holds.
    """

    stream: int
    slot: int
    prompt_tokens: int
    sampling: StreamSampling
    embeddings: torch.Tensor


class SlotPool:
    """Device tensors [slots, ...]: code history, counters, prompt embeddings and sampling parameters.

    `history` int16 [slots, max_frames, code_groups]: codes of all frames so far, from which a preempted
    stream rebuilds the same inputs. `frames` int64 [slots]: their number. `seen` bool [slots, codec_vocab]:
    code-0 ids under the repetition penalty. `ended` bool [slots]: EOS was drawn.
    """

    def __init__(
        self,
        shape: SlotShape,
        *,
        dtype: torch.dtype,
        device: torch.device,
        reset_vocoder: Callable[[torch.Tensor], None],
    ) -> None:
        self.shape = shape
        self.device = device
        self.dtype = dtype
        self._reset_vocoder = reset_vocoder
        n = shape.slots
        self.history = torch.zeros(n, shape.max_frames, shape.code_groups, dtype=torch.int16, device=device)
        self.frames = torch.zeros(n, dtype=torch.int64, device=device)
        self.prompt_len = torch.zeros(n, dtype=torch.int64, device=device)
        self.stream = torch.full((n,), -1, dtype=torch.int64, device=device)
        self.seen = torch.zeros(n, shape.codec_vocab, dtype=torch.bool, device=device)
        self.ended = torch.zeros(n, dtype=torch.bool, device=device)
        self.sampling = SlotSampling.empty(n, device)
        self.prompt_embeddings = PromptEmbeddings(
            n, shape.embedding_rows, shape.hidden, dtype=dtype, device=device
        )
        self._open: dict[int, int] = {}

    @property
    def used(self) -> int:
        return len(self._open)

    def slot_of(self, stream: int) -> int | None:
        """The slot of an open stream."""
        return self._open.get(stream)

    def open(self, new: NewStream) -> None:
        """Opens a slot for a stream.

        Raises `ValueError` if it is not free, `PromptEmbeddingsFull` if its embeddings do not fit.
        """
        slot = new.slot
        if slot in self._open.values() or not PADDING_SLOT < slot < self.shape.slots:
            raise ValueError(f"slot {slot} cannot be opened")
        self._zero(slot)
        if len(new.embeddings):
            self.prompt_embeddings.store(slot, new.embeddings)
        self._open[new.stream] = slot
        self.prompt_len[slot] = new.prompt_tokens
        self.stream[slot] = new.stream
        self.sampling.put(slot, new.sampling)

    def close(self, slot: int) -> bool:
        """Frees and zeroes a slot. False if it was not open."""
        if slot not in self._open.values():
            return False
        self._open = {stream: held for stream, held in self._open.items() if held != slot}
        self.prompt_embeddings.release(slot)
        self._zero(slot)
        return True

    def rows_of(self, packed: bytes, dtype: str, width: int) -> torch.Tensor:
        """Packed hidden states → [rows, width] in the pool's dtype, on its device."""
        if not packed:
            return torch.zeros(0, width, dtype=self.dtype, device=self.device)
        rows = torch.frombuffer(bytearray(packed), dtype=getattr(torch, dtype))
        return uploaded(rows.view(-1, width), self.device, self.dtype)

    def _zero(self, slot: int) -> None:
        self.history[slot] = 0
        self.frames[slot] = 0
        self.prompt_len[slot] = 0
        self.stream[slot] = -1
        self.seen[slot] = False
        self.ended[slot] = False
        self._reset_vocoder(numbers([slot], self.device))
